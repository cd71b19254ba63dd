//! The worker's end of the command session: lines of JSON over a Unix socket inherited from the parent.
//!
//! One native thread reads and answers, also while user code hangs; another one writes, so that nobody waits for a
//! slow reader. When the socket ends, the parent is gone and the worker goes too; nothing that is sent ends it.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Longest request, with its line feed.
const MAX_LINE: u64 = 64 << 10;
/// Bytes of a longer one that are looked at twice, so that its id is found wherever it is cut.
const LOOK_BACK: usize = 32;
/// Bytes that wait for the writer before the oldest lines are dropped.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// Bytes that wait for the writer from which lines that may be lost are refused.
const MAX_OFFERED_BYTES: usize = 1 << 20;

/// Answers one request line; None: no answer.
pub type Handler = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send>;

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The writer has taken a line and not written it yet.
    writing: bool,
    closed: bool,
}

#[derive(Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no thread panics while it holds the outbox")
    }

    /// The next line, once there is one; None when the session has ended.
    fn next(&self) -> Option<Vec<u8>> {
        let mut waiting = self.lock();
        waiting.writing = false;
        let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.closed;
        waiting = self.changed.wait_while(waiting, idle).expect("as in `lock`");
        let line = waiting.lines.pop_front()?;
        waiting.bytes -= line.len();
        waiting.writing = true;
        Some(line)
    }

    fn close(&self) {
        let mut waiting = self.lock();
        *waiting = Waiting { closed: true, ..Waiting::default() };
        self.changed.notify_one();
    }
}

/// Writes lines to the parent; cheap to clone.
#[derive(Clone)]
pub struct Sender(Arc<Outbox>);

impl Sender {
    /// Sends one line, without waiting for it to be written. Whether it was taken: not when the session has ended.
    ///
    /// Bound: 4 MiB wait for a parent that does not read; beyond that the oldest lines are dropped, as the last ones
    /// say how a run stands and how it ended.
    pub fn send(&self, mut line: Vec<u8>) -> bool {
        line.push(b'\n');
        let mut waiting = self.0.lock();
        if waiting.closed {
            return false;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        while waiting.bytes > MAX_WAITING_BYTES && waiting.lines.len() > 1 {
            let oldest = waiting.lines.pop_front().map_or(0, |line| line.len());
            waiting.bytes -= oldest;
        }
        self.0.changed.notify_one();
        true
    }

    /// Sends a line that may be lost, unless too much waits already: it must not push out lines that say how a run
    /// stands. Whether it was taken.
    pub fn offer(&self, line: Vec<u8>) -> bool {
        self.0.lock().bytes + line.len() < MAX_OFFERED_BYTES && self.send(line)
    }

    /// Whether nothing waits to be written any more.
    pub fn is_flushed(&self) -> bool {
        let waiting = self.0.lock();
        waiting.lines.is_empty() && !waiting.writing
    }
}

/// Lines on their way to the writer.
pub struct Lines(Arc<Outbox>);

/// Opens the sending half; the returned lines go to [`serve`].
pub fn channel() -> (Sender, Lines) {
    let outbox = Arc::new(Outbox::default());
    (Sender(outbox.clone()), Lines(outbox))
}

/// Starts the two threads. `on_end` runs when the parent has gone.
///
/// Bound: a request of more than 64 KiB is skipped and answered by an error.
pub fn serve(
    fd: OwnedFd,
    sender: Sender,
    lines: Lines,
    handler: Handler,
    on_end: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let socket = UnixStream::from(fd);
    socket.set_nonblocking(false)?;
    let writer = socket.try_clone()?;
    std::thread::Builder::new().name("squall-session-out".into()).spawn(move || write_lines(writer, &lines))?;
    std::thread::Builder::new().name("squall-session".into()).spawn(move || {
        read_lines(socket, &sender, &handler);
        sender.0.close();
        on_end();
    })?;
    Ok(())
}

fn write_lines(mut socket: UnixStream, Lines(outbox): &Lines) {
    while let Some(line) = outbox.next() {
        if socket.write_all(&line).is_err() {
            outbox.close();
        }
    }
}

fn read_lines(socket: UnixStream, sender: &Sender, handler: &Handler) {
    let mut reader = BufReader::new(socket);
    let mut line = Vec::new();
    while read_piece(&mut reader, &mut line) {
        let answer = match line.pop_if(|last| *last == b'\n') {
            Some(_) => handler(&line),
            None => refuse_line(&mut reader, &mut line),
        };
        if let Some(answer) = answer {
            sender.send(answer);
        }
        line.clear();
    }
}

/// Reads on to the end of the line, or as much as a request may have. Whether there was anything.
fn read_piece(reader: &mut impl BufRead, line: &mut Vec<u8>) -> bool {
    reader.take(MAX_LINE).read_until(b'\n', line).is_ok_and(|bytes| bytes > 0)
}

/// Skips a line, of which a piece was read, to its end. The answer; None when the session ended first.
fn refuse_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut id = id_of(line);
    while line.last() != Some(&b'\n') {
        line.drain(..line.len().saturating_sub(LOOK_BACK));
        if !read_piece(reader, line) {
            return None;
        }
        id = id_of(line).or(id);
    }
    Some(too_long(id))
}

/// The number that a request, or a part of one, gives as its `"id"`; the parent puts it last.
pub fn id_of(part: &[u8]) -> Option<u64> {
    let key = b"\"id\":";
    let at = part.windows(key.len()).rposition(|window| window == key)? + key.len();
    let value = part[at..].trim_ascii_start();
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&value[..digits]).ok()?.parse().ok()
}

fn too_long(id: Option<u64>) -> Vec<u8> {
    refusal(id, &format!("a command of more than {MAX_LINE} bytes"))
}

/// The answer to a request that is not carried out; `because` has nothing that JSON escapes.
pub fn refusal(id: Option<u64>, because: &str) -> Vec<u8> {
    let id = id.map_or_else(String::new, |id| format!(r#""id":{id},"#));
    format!(r#"{{{id}"error":"{because}"}}"#).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel as plain_channel};
    use std::time::{Duration, Instant};

    fn started() -> (UnixStream, Sender, Receiver<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sender, lines) = channel();
        let (ended, end) = plain_channel();
        let echo: Handler = Box::new(|line| Some([b"answer ".as_slice(), line].concat()));
        serve(theirs.into(), sender.clone(), lines, echo, move || ended.send(()).unwrap()).unwrap();
        (ours, sender, end)
    }

    fn wait_until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    // semantics 28
    #[test]
    fn requests_are_answered_and_events_come_between() {
        let (ours, sender, _end) = started();
        (&ours).write_all(b"one\n").unwrap();
        let mut reader = BufReader::new(&ours);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "answer one\n");
        sender.send(b"event".to_vec());
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "event\n");
    }

    // semantics 21: the death of the parent ends its workers
    #[test]
    fn the_end_of_the_parent_is_noticed() {
        let (ours, sender, end) = started();
        drop(ours);
        end.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(!sender.send(b"too late".to_vec()));
        assert!(sender.is_flushed());
    }

    /// Sends all of `requests` and reads as many lines as there are answers.
    fn answers(requests: &[u8], count: usize) -> Vec<String> {
        let (ours, _sender, _end) = started();
        (&ours).write_all(requests).unwrap();
        BufReader::new(&ours).lines().take(count).map(Result::unwrap).collect()
    }

    // semantics 28
    #[test]
    fn a_request_over_the_limit_is_refused_by_its_id_and_the_next_one_is_answered() {
        let refused = r#"{"id":1234,"error":"a command of more than 65536 bytes"}"#;
        let border = MAX_LINE as usize;
        for length in (border..border + 40).chain([5 * border]) {
            let request = format!(r#"{{"cmd":"{}","id": 1234}}"#, "x".repeat(length - 21));
            assert_eq!(request.len(), length);
            assert_eq!(answers(format!("{request}\nnext\n").as_bytes(), 2), [refused, "answer next"], "{length}");
        }
        let led = format!(r#"{{"id":1234,"cmd":"{}"}}"#, "x".repeat(5 * border));
        assert_eq!(answers(format!("{led}\nnext\n").as_bytes(), 2), [refused, "answer next"]);
    }

    // semantics 28
    #[test]
    fn a_request_over_the_limit_without_an_id_is_refused_without_one() {
        let request = [&[b'x'; 3 * MAX_LINE as usize], b"\nnext\n".as_slice()].concat();
        assert_eq!(answers(&request, 2), [r#"{"error":"a command of more than 65536 bytes"}"#, "answer next"]);
    }

    // semantics 28
    #[test]
    fn a_request_of_just_the_limit_is_answered() {
        let request = "x".repeat(MAX_LINE as usize - 1);
        assert_eq!(answers(format!("{request}\n").as_bytes(), 1), [format!("answer {request}")]);
    }

    // semantics 21
    #[test]
    fn the_end_of_the_parent_is_noticed_also_within_a_request() {
        for length in [3, 3 * MAX_LINE as usize] {
            let (ours, _sender, end) = started();
            (&ours).write_all(&vec![b'x'; length]).unwrap();
            drop(ours);
            end.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    }

    #[test]
    fn lines_of_many_threads_stay_whole() {
        let (ours, sender, _end) = started();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let sender = sender.clone();
                let line = thread.to_string().repeat(5000).into_bytes();
                std::thread::spawn(move || (0..100).for_each(|_| assert!(sender.send(line.clone()))))
            })
            .collect();
        let lines: Vec<String> = BufReader::new(&ours).lines().take(400).map(Result::unwrap).collect();
        assert!(lines.iter().all(|line| line.len() == 5000 && line.bytes().all(|byte| byte == line.as_bytes()[0])));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_parent_that_does_not_read_holds_nobody_up_and_later_gets_the_newest_lines() {
        let (ours, sender, _end) = started();
        assert!((0..100_000).all(|i| sender.send(format!("{i:0>1000}").into_bytes())));
        assert!(sender.0.lock().bytes <= MAX_WAITING_BYTES);
        assert!(!sender.is_flushed());
        let lines: Vec<String> = BufReader::new(&ours)
            .lines()
            .map(Result::unwrap)
            .take_while(|line| line.parse::<u32>().unwrap() < 99_999)
            .collect();
        assert!(lines.len() < 10_000);
        wait_until(|| sender.is_flushed());
    }

    #[test]
    fn lines_that_may_be_lost_push_no_other_out() {
        let (ours, sender, _end) = started();
        let taken = (0..10_000).filter(|_| sender.offer(vec![b'x'; 1000])).count();
        assert!((MAX_OFFERED_BYTES / 1001..10_000).contains(&taken), "{taken}");
        assert!((0..1000).all(|i| sender.send(format!("{i:0>1000}").into_bytes())));
        let lines = BufReader::new(&ours).lines().map(Result::unwrap);
        assert!(lines.skip(taken).take(1000).enumerate().all(|(i, line)| line.parse::<usize>().unwrap() == i));
    }
}
