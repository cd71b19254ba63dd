//! The worker's end of the command session: lines of JSON over a Unix socket inherited from the parent.
//!
//! One native thread reads and answers, also while user code hangs; another one writes, so that nobody waits for a
//! slow reader. When the socket ends, the parent is gone and the worker goes too.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Longest request.
const MAX_LINE: u64 = 64 << 10;
/// Lines that wait for the writer; more are dropped.
const MAX_WAITING: usize = 1024;

/// Answers one request line; None: no answer.
pub type Handler = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send>;

/// Writes lines to the parent; cheap to clone.
#[derive(Clone)]
pub struct Sender {
    lines: SyncSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

/// Lines on their way to the writer.
pub struct Lines {
    lines: Receiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

impl Sender {
    /// Sends one line. Never waits: it is dropped when the parent does not read. Whether it was taken.
    pub fn send(&self, mut line: Vec<u8>) -> bool {
        line.push(b'\n');
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let taken = self.lines.try_send(line).is_ok();
        if !taken {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Whether everything that was taken is written.
    pub fn is_flushed(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }
}

/// Opens the sending half; the returned receiver goes to [`serve`].
pub fn channel() -> (Sender, Lines) {
    let (sender, lines) = sync_channel(MAX_WAITING);
    let waiting = Arc::new(AtomicUsize::new(0));
    (Sender { lines: sender, waiting: waiting.clone() }, Lines { lines, waiting })
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
        on_end();
    })?;
    Ok(())
}

fn write_lines(mut socket: UnixStream, lines: &Lines) {
    while let Ok(line) = lines.lines.recv() {
        let written = socket.write_all(&line);
        lines.waiting.fetch_sub(1, Ordering::Relaxed);
        if written.is_err() {
            return;
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
    use std::sync::mpsc::channel as plain_channel;
    use std::time::Duration;

    fn started() -> (UnixStream, Sender, Receiver<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sender, lines) = channel();
        let (ended, end) = plain_channel();
        let echo: Handler = Box::new(|line| Some([b"answer ".as_slice(), line].concat()));
        serve(theirs.into(), sender.clone(), lines, echo, move || ended.send(()).unwrap()).unwrap();
        (ours, sender, end)
    }

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

    #[test]
    fn the_end_of_the_parent_is_noticed() {
        let (ours, _sender, end) = started();
        drop(ours);
        end.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn an_endless_request_ends_the_session() {
        let (ours, _sender, end) = started();
        let _ = (&ours).write_all(&vec![b'x'; 2 * MAX_LINE as usize]);
        end.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_parent_that_does_not_read_holds_nobody_up() {
        let (_ours, sender, _end) = started();
        let taken = (0..100_000).filter(|_| sender.send(vec![b'x'; 1000])).count();
        assert!(taken < 100_000);
    }
}
