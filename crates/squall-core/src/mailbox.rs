//! A task's inbox: a growable ring of tuples, with channels that can be held back.
//!
//! A channel is one (source task, stream) into this task; it is FIFO. Holding one back parks its
//! tuples while the others flow (barriers need that). The price of the ability is one branch.

use crate::cell::Local;
use crate::ids::RootId;
use crate::route::Payload;
use std::collections::VecDeque;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::addr_of_mut;

/// Index of a channel's sending end: one (source task, stream) of the topology.
pub type Channel = u32;

/// One tuple on its way to one task.
pub struct Msg<P> {
    /// The tree it belongs to, or [`RootId::NONE`].
    pub root: RootId,
    /// Its edge id; 0 when not tracked.
    pub edge: u64,
    /// Where it came from.
    pub channel: Channel,
    /// Its values.
    pub row: P,
}

impl<P: Payload> Msg<P> {
    /// Moves a tuple field by field, so that only the used part of its row is copied.
    ///
    /// # Safety
    /// As of [`Payload::relocate`].
    #[inline(always)]
    unsafe fn relocate(from: *const Self, to: *mut Self) {
        // SAFETY: as the caller promises; the fields are plain but for the row.
        unsafe {
            (*to).root = (*from).root;
            (*to).edge = (*from).edge;
            (*to).channel = (*from).channel;
            P::relocate(&raw const (*from).row, addr_of_mut!((*to).row));
        }
    }
}

/// A power-of-two ring that doubles when full.
pub struct Ring<T> {
    buf: Box<[MaybeUninit<T>]>,
    head: u32,
    tail: u32,
    /// How many items were taken before the first place was used anew; wraps.
    before: u32,
}

const FIRST_CAPACITY: usize = 256;

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Ring { buf: Box::new_uninit_slice(FIRST_CAPACITY), head: 0, tail: 0, before: 0 }
    }
}

impl<T> Ring<T> {
    /// How many items wait.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.tail.wrapping_sub(self.head) as usize
    }

    /// Whether none waits.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// How many items were taken since it began, modulo 2^32.
    pub fn taken(&self) -> u32 {
        self.before.wrapping_add(self.head)
    }

    /// Appends one place; the caller writes the item there before anything else happens to the ring.
    #[inline(always)]
    fn append(&mut self) -> *mut T {
        if self.len() == self.buf.len() {
            self.grow();
        }
        let at = self.tail as usize & (self.buf.len() - 1);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `at` is masked by the length, a power of two.
        unsafe { self.buf.get_unchecked_mut(at) }.as_mut_ptr()
    }

    /// Takes the oldest place; the caller moves the item out before anything else happens to the ring.
    #[inline(always)]
    fn advance(&mut self) -> Option<*const T> {
        if self.head == self.tail {
            // From the first place again: the places in use stay few, and in the processor's cache.
            self.before = self.before.wrapping_add(self.head);
            (self.head, self.tail) = (0, 0);
            return None;
        }
        let at = self.head as usize & (self.buf.len() - 1);
        self.head = self.head.wrapping_add(1);
        // SAFETY: `at` is masked by the length, a power of two.
        Some(unsafe { self.buf.get_unchecked(at) }.as_ptr())
    }

    /// Appends one item.
    #[inline(always)]
    pub fn push(&mut self, item: T) {
        // SAFETY: the place is ours and holds nothing.
        unsafe { self.append().write(item) };
    }

    /// Takes the oldest item.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<T> {
        // SAFETY: between head and tail every place was written once and not read since.
        self.advance().map(|place| unsafe { place.read() })
    }

    /// Takes all items without moving one, if they are at most `most`, lie in one piece and fill a good part of it.
    fn take_whole(&mut self, most: usize) -> Option<Vec<T>> {
        let (len, capacity) = (self.len(), self.buf.len());
        if self.head != 0 || len > most || len * 4 < capacity {
            return None;
        }
        let buf = std::mem::replace(&mut self.buf, Box::new_uninit_slice(capacity));
        self.before = self.before.wrapping_add(self.tail);
        self.tail = 0;
        // SAFETY: the allocation is the box's, and its first `len` places are initialised.
        Some(unsafe { Vec::from_raw_parts(Box::into_raw(buf).cast(), len, capacity) })
    }

    /// The oldest item, left in place.
    pub fn front(&self) -> Option<&T> {
        let at = self.head as usize & (self.buf.len() - 1);
        // SAFETY: as in `pop`.
        (!self.is_empty()).then(|| unsafe { self.buf.get_unchecked(at).assume_init_ref() })
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let n = self.buf.len();
        let mut bigger = Box::new_uninit_slice(n * 2);
        for (i, place) in bigger.iter_mut().take(n).enumerate() {
            let at = (self.head as usize + i) & (n - 1);
            // SAFETY: the ring is full, so each place is initialised; each is moved out once.
            place.write(unsafe { self.buf[at].assume_init_read() });
        }
        self.buf = bigger;
        self.before = self.before.wrapping_add(self.head);
        self.head = 0;
        self.tail = n as u32;
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// What a mailbox with held channels keeps beside its ring. Tuples that wait here are older than the ring's.
struct Held<P> {
    channels: Vec<Channel>,
    parked: VecDeque<Msg<P>>,
    released: VecDeque<Msg<P>>,
}

impl<P> Default for Held<P> {
    fn default() -> Self {
        Held { channels: Vec::new(), parked: VecDeque::new(), released: VecDeque::new() }
    }
}

/// The inbox of one task.
pub struct Mailbox<P> {
    ring: Local<Ring<Msg<P>>>,
    held: Local<Option<Box<Held<P>>>>,
}

impl<P> Default for Mailbox<P> {
    fn default() -> Self {
        Mailbox { ring: Local::new(Ring::default()), held: Local::new(None) }
    }
}

impl<P: Payload> Mailbox<P> {
    /// Puts a tuple at the end.
    #[inline(always)]
    pub fn push(&self, msg: Msg<P>) {
        let row = ManuallyDrop::new(msg.row);
        // SAFETY: `row` is not used again.
        unsafe { self.push_from(msg.root, msg.edge, msg.channel, &raw const *row) };
    }

    /// As [`Mailbox::push`], with the row moved from where it lies. Passing it by value would copy it over the stack,
    /// and a wide copy right after narrow writes waits for the store buffer.
    ///
    /// # Safety
    /// `row` is initialised and is not used (nor dropped) afterwards.
    #[inline(always)]
    pub unsafe fn push_from(&self, root: RootId, edge: u64, channel: Channel, row: *const P) {
        self.ring.with(|ring| {
            let place = ring.append();
            // SAFETY: the place is new and ours; the row as the caller promises.
            unsafe {
                (*place).root = root;
                (*place).edge = edge;
                (*place).channel = channel;
                P::relocate(row, addr_of_mut!((*place).row));
            }
        });
    }

    /// Takes the next tuple whose channel is not held back.
    #[inline(always)]
    pub fn pop(&self) -> Option<Msg<P>> {
        if self.held.with(|held| held.is_some()) {
            return self.pop_around_held();
        }
        self.ring.with(|ring| {
            ring.advance().map(|place| {
                let mut msg = MaybeUninit::<Msg<P>>::uninit();
                // SAFETY: the place was written once and is not read again.
                unsafe {
                    Msg::relocate(place, msg.as_mut_ptr());
                    msg.assume_init()
                }
            })
        })
    }

    /// As [`Mailbox::pop`], but right into the caller's place: what a hot loop reads again at once is not moved twice.
    /// Whether there was a tuple.
    #[inline(always)]
    pub fn pop_into(&self, place: &mut MaybeUninit<Msg<P>>) -> bool {
        if self.held.with(|held| held.is_some()) {
            return self.pop_around_held().map(|msg| place.write(msg)).is_some();
        }
        self.ring.with(|ring| match ring.advance() {
            None => false,
            Some(from) => {
                // SAFETY: the ring's place was written once and is not read again.
                unsafe { Msg::relocate(from, place.as_mut_ptr()) };
                true
            }
        })
    }

    /// Takes everything, if it is at most `most` and can be handed over without moving it.
    pub fn take_whole(&self, most: usize) -> Option<Vec<Msg<P>>> {
        if self.held.with(|held| held.is_some()) {
            return None;
        }
        self.ring.with(|ring| ring.take_whole(most))
    }

    /// How many tuples wait, the parked ones too.
    #[inline(always)]
    pub fn len(&self) -> usize {
        let parked = self.held.with(|held| held.as_ref().map_or(0, |h| h.parked.len() + h.released.len()));
        self.ring.with(|ring| ring.len()) + parked
    }

    /// How many tuples [`Mailbox::pop`] could still give, at most.
    #[inline(always)]
    pub fn ready(&self) -> usize {
        let released = self.held.with(|held| held.as_ref().map_or(0, |h| h.released.len()));
        self.ring.with(|ring| ring.len()) + released
    }

    /// How many tuples were ever put in, modulo 2^32.
    pub fn pushed(&self) -> u32 {
        self.ring.with(|ring| ring.taken().wrapping_add(ring.len() as u32))
    }

    /// How many of them have left the queue, modulo 2^32: taken out, or set aside as their channel is or was held. When
    /// this is what [`Mailbox::pushed`] was, all that was put in before is taken or aside.
    pub fn passed(&self) -> u32 {
        self.ring.with(|ring| ring.taken())
    }

    /// How many tuples of these channels are set aside: parked, or let go again but not taken yet.
    pub fn aside(&self, is_one: impl Fn(Channel) -> bool) -> usize {
        let count = |h: &Held<P>| h.parked.iter().chain(&h.released).filter(|msg| is_one(msg.channel)).count();
        self.held.with(|held| held.as_deref().map_or(0, count))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channel of the tuple that [`Mailbox::pop`] would give.
    #[inline(always)]
    pub fn front_channel(&self) -> Option<Channel> {
        self.front(|msg| msg.channel)
    }

    /// Root of the tuple that [`Mailbox::pop`] would give.
    #[inline(always)]
    pub fn front_root(&self) -> Option<RootId> {
        self.front(|msg| msg.root)
    }

    #[inline(always)]
    fn front<R>(&self, look: impl Fn(&Msg<P>) -> R) -> Option<R> {
        if self.held.with(|held| held.is_some()) {
            self.park_held_fronts();
            let released = self.held.with(|held| held.as_ref().and_then(|h| h.released.front()).map(&look));
            if released.is_some() {
                return released;
            }
        }
        self.ring.with(|ring| ring.front().map(&look))
    }

    /// Parks what waits or comes on `channel`; the other channels flow.
    pub fn hold(&self, channel: Channel) {
        self.held.with(|held| {
            let held = held.get_or_insert_default();
            if !held.channels.contains(&channel) {
                held.channels.push(channel);
            }
        });
    }

    /// Lets `channel` flow again: what was parked comes first, in its order.
    pub fn release(&self, channel: Channel) {
        self.held.with(|slot| {
            let Some(held) = slot else { return };
            held.channels.retain(|c| *c != channel);
            // `released` may still hold tuples of this channel from an earlier release, which are older.
            let (freed, parked) = std::mem::take(&mut held.parked).into_iter().partition(|msg| msg.channel == channel);
            held.parked = parked;
            let mut freed: VecDeque<Msg<P>> = freed;
            held.released.append(&mut freed);
        });
        self.forget_empty_hold();
    }

    #[cold]
    #[inline(never)]
    fn pop_around_held(&self) -> Option<Msg<P>> {
        self.park_held_fronts();
        if mutant!(ReleasedGoLast)
            && let Some(msg) = self.ring.with(Ring::pop)
        {
            return Some(msg);
        }
        let released = self.held.with(|held| held.as_mut().and_then(|h| h.released.pop_front()));
        self.forget_empty_hold();
        released.or_else(|| self.ring.with(Ring::pop))
    }

    /// Moves tuples of held channels aside until the oldest tuple is one that may flow.
    #[cold]
    #[inline(never)]
    fn park_held_fronts(&self) {
        self.held.with(|slot| {
            let Some(held) = slot else { return };
            while held.released.front().is_some_and(|msg| held.channels.contains(&msg.channel)) {
                held.parked.extend(held.released.pop_front());
            }
            if held.released.is_empty() {
                self.ring.with(|ring| {
                    while ring.front().is_some_and(|msg| held.channels.contains(&msg.channel)) {
                        held.parked.extend(ring.pop());
                    }
                });
            }
        });
    }

    fn forget_empty_hold(&self) {
        self.held.with(|slot| {
            if slot.as_ref().is_some_and(|h| h.channels.is_empty() && h.parked.is_empty() && h.released.is_empty()) {
                *slot = None;
            }
        });
    }
}
