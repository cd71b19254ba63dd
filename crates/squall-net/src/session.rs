//! The worker's end of the command session: lines of JSON over a Unix socket inherited from the parent.
//!
//! One native thread reads and answers, also while user code hangs; another one writes, so that nobody waits for a
//! slow reader. When the socket ends, the parent is gone and the worker goes too.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Longest request.
const MAX_LINE: u64 = 64 << 10;
/// Bytes that wait for the writer before the oldest lines are dropped.
const MAX_WAITING_BYTES: usize = 4 << 20;

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
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.last() != Some(&b'\n') => return, // too long, or cut off
            Ok(_) => {}
        }
        if let Some(answer) = handler(&line[..line.len() - 1]) {
            sender.send(answer);
        }
    }
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

    #[test]
    fn an_endless_request_ends_the_session() {
        let (ours, _sender, end) = started();
        let _ = (&ours).write_all(&vec![b'x'; 2 * MAX_LINE as usize]);
        end.recv_timeout(Duration::from_secs(10)).unwrap();
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
}
