//! Streams between workers: bytes in order, in pieces, as late and as far as the faults let them.

use crate::chance::Chance;
use crate::host::{Event, Host};
use crate::plan::{MS, Place, US};
use squall_core::ids::Incarnation;

/// Number of a stream.
pub type StreamId = usize;
/// Which way bytes go: from the end with this number to the other.
pub type Way = usize;

/// By when a dead stream is found by an end whose other end has let go of it.
const PROBED_NS: u64 = 10_000 * MS;
/// Who hears so late that a stream is closed may seek the other too late.
const LATE_NS: u64 = 300 * MS;
/// How much of a stream is kept to be delivered again on a later one.
const KEPT_BYTES: usize = 600;

#[derive(Default)]
struct OneWay {
    /// Written and not read.
    held: usize,
    /// When the last of it arrives.
    arrives_ns: u64,
    inbox: Vec<u8>,
    is_swallowed: bool,
    /// The writer's end is gone, and what it wrote has come.
    is_closed: bool,
    is_blocked: bool,
    /// What the writer has written first.
    first: Vec<u8>,
}

struct Stream {
    places: [(Place, Incarnation); 2],
    ways: [OneWay; 2],
    is_open: [bool; 2],
    /// It does not bring what was written on it, and only that.
    is_spoilt: bool,
}

/// The other end has closed the stream, or it is cut.
pub struct Closed;

/// All streams there ever were.
#[derive(Default)]
pub struct Network {
    streams: Vec<Stream>,
}

impl Network {
    /// How many streams have an end that was not let go of.
    pub fn open(&self) -> usize {
        self.streams.iter().filter(|stream| stream.is_open.contains(&true)).count()
    }

    /// How many there were.
    pub fn made(&self) -> usize {
        self.streams.len()
    }

    /// Whether a stream has brought something else than was written on it, or swallowed it.
    pub fn is_spoilt(&self, id: StreamId) -> bool {
        self.streams[id].is_spoilt
    }

    /// The first bytes of an earlier stream from one place to another: of the last one, or any.
    fn stale(&self, from: Place, to: Place, chance: &Chance) -> Option<Vec<u8>> {
        let of = |stream: &Stream, way: Way| stream.places[way].0 == from && stream.places[1 - way].0 == to;
        let both = self.streams.iter().flat_map(|stream| (0..2).map(move |way| (stream, way)));
        let firsts: Vec<&Vec<u8>> = both
            .filter(|(stream, way)| of(stream, *way))
            .map(|(stream, way)| &stream.ways[way].first)
            .filter(|first| !first.is_empty())
            .collect();
        let last = firsts.len().checked_sub(1)?;
        let which = if chance.permille(500) { last } else { chance.below(firsts.len() as u64) as usize };
        Some(firsts[which].clone())
    }
}

impl Host {
    /// A new stream between two lives; the caller's end is 0.
    pub fn connect(&mut self, caller: (Place, Incarnation), called: (Place, Incarnation)) -> StreamId {
        let id = self.network.streams.len();
        let stream =
            Stream { places: [caller, called], ways: Default::default(), is_open: [true; 2], is_spoilt: false };
        self.network.streams.push(stream);
        self.trace.note(self.now_ns, || format!("stream {id} joins worker {} and {}", caller.0, called.0));
        for way in 0..2 {
            if self.strikes(self.plan.faults.stale) {
                let (from, to) = ([caller, called][way].0, [called, caller][way].0);
                if let Some(bytes) = self.network.stale(from, to, &self.chance) {
                    self.network.streams[id].ways[way].held += bytes.len();
                    self.network.streams[id].is_spoilt = true;
                    self.hindrances.note(from, to, self.now_ns);
                    self.trace.note(self.now_ns, || format!("stream {id} begins with old bytes of {from} to {to}"));
                    self.deliver(id, way, bytes, 0);
                }
            }
        }
        id
    }

    /// Writes to the end `way`; how much of it the stream takes.
    pub fn write(&mut self, id: StreamId, way: Way, bytes: &[u8]) -> Result<usize, Closed> {
        if !self.network.streams[id].is_open[way] || self.network.streams[id].ways[1 - way].is_closed {
            return Err(Closed);
        }
        let most = self.plan.buffer_bytes;
        let one = &mut self.network.streams[id].ways[way];
        let taken = bytes.len().min(most.saturating_sub(one.held));
        one.is_blocked = taken < bytes.len();
        if taken == 0 {
            return Ok(0);
        }
        let kept = KEPT_BYTES.saturating_sub(one.first.len()).min(taken);
        one.first.extend_from_slice(&bytes[..kept]);
        one.held += taken;
        let mut bytes = bytes[..taken].to_vec();
        if self.strikes(self.plan.faults.corrupt) {
            let bit = self.chance.below(taken as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
            self.network.streams[id].is_spoilt = true;
            self.trace.note(self.now_ns, || format!("stream {id} changes a bit"));
        }
        if self.strikes(self.plan.faults.swallow) {
            let both = self.chance.permille(500);
            self.network.streams[id].is_spoilt = true;
            self.network.streams[id].ways[way].is_swallowed = true;
            self.network.streams[id].ways[1 - way].is_swallowed |= both;
            self.trace.note(self.now_ns, || format!("stream {id} swallows{}", if both { " all" } else { "" }));
        }
        if self.strikes(self.plan.faults.cut) {
            bytes.truncate(self.chance.below(taken as u64) as usize);
            self.trace.note(self.now_ns, || format!("stream {id} is cut"));
            self.transmit(id, way, bytes);
            self.close_way(id, 0);
            self.close_way(id, 1);
        } else {
            self.transmit(id, way, bytes);
        }
        Ok(taken)
    }

    /// Sends bytes on their way, in pieces.
    fn transmit(&mut self, id: StreamId, way: Way, mut bytes: Vec<u8>) {
        if self.network.streams[id].ways[way].is_swallowed {
            return;
        }
        let late_ns = if self.strikes(self.plan.faults.late) { self.chance.between(50 * US, 30 * MS) } else { 0 };
        if self.strikes(self.plan.faults.drip) && bytes.len() < 200 {
            for byte in bytes {
                let gap_ns = self.chance.below(MS);
                self.deliver(id, way, vec![byte], gap_ns);
            }
            return;
        }
        let delay_ns = self.chance.between(US, 30 * US) + late_ns;
        if bytes.len() > 1 && self.chance.permille(200) {
            let rest = bytes.split_off(self.chance.between(1, bytes.len() as u64 - 1) as usize);
            self.deliver(id, way, bytes, delay_ns);
            return self.deliver(id, way, rest, delay_ns);
        }
        self.deliver(id, way, bytes, delay_ns);
    }

    fn deliver(&mut self, id: StreamId, way: Way, bytes: Vec<u8>, delay_ns: u64) {
        let arrives_ns = self.arrival(id, way, delay_ns);
        self.timers.at(arrives_ns, Event::Arrive { stream: id, way, bytes });
    }

    /// When what is sent now comes, behind what was sent before.
    fn arrival(&mut self, id: StreamId, way: Way, delay_ns: u64) -> u64 {
        let one = &mut self.network.streams[id].ways[way];
        one.arrives_ns = one.arrives_ns.max(self.now_ns) + delay_ns;
        one.arrives_ns
    }

    fn close_way(&mut self, id: StreamId, way: Way) {
        let delay_ns = if self.network.streams[id].ways[way].is_swallowed { PROBED_NS } else { 0 };
        let closes_ns = self.arrival(id, way, 0) + delay_ns;
        if closes_ns > self.now_ns + LATE_NS {
            let [(one, _), (other, _)] = self.network.streams[id].places;
            self.hindrances.note(one, other, closes_ns);
        }
        self.timers.at(closes_ns, Event::Closed { stream: id, way });
    }

    /// Bytes have arrived.
    pub fn arrive(&mut self, id: StreamId, way: Way, bytes: &[u8]) {
        let stream = &mut self.network.streams[id];
        if stream.is_open[1 - way] && !stream.ways[way].is_closed {
            stream.ways[way].inbox.extend_from_slice(bytes);
            let (place, life) = stream.places[1 - way];
            self.stir(place, life);
        }
    }

    /// Nothing more arrives.
    pub fn closed(&mut self, id: StreamId, way: Way) {
        let stream = &mut self.network.streams[id];
        stream.ways[way].is_closed = true;
        let (place, life) = stream.places[1 - way];
        self.stir(place, life);
    }

    /// Takes what has come at the end from which `way` leads. `Closed` when nothing more can.
    pub fn read(&mut self, id: StreamId, way: Way, into: &mut Vec<u8>) -> Result<(), Closed> {
        let stream = &mut self.network.streams[id];
        let (reader, writer, one) = (stream.places[way], stream.places[1 - way], &mut stream.ways[1 - way]);
        if one.inbox.is_empty() {
            return if one.is_closed { Err(Closed) } else { Ok(()) };
        }
        one.held -= one.inbox.len().min(one.held);
        into.append(&mut one.inbox);
        let (is_blocked, is_closed) = (std::mem::take(&mut one.is_blocked), one.is_closed);
        if is_blocked {
            self.stir(writer.0, writer.1);
        }
        if is_closed {
            self.stir(reader.0, reader.1); // to find the end of it
        }
        Ok(())
    }

    /// Lets go of one end. What was written still arrives; what comes does not.
    pub fn hang_up(&mut self, id: StreamId, way: Way) {
        if std::mem::take(&mut self.network.streams[id].is_open[way]) {
            self.close_way(id, way);
        }
    }
}
