//! Queues log lines for a reader that may stop reading: a console after Ctrl-S, a pipe whose reader stalls, a disk that
//! hangs.
//!
//! Whoever logs never waits: a line goes into a bounded queue, and one thread writes. When the queue is full
//! what comes is dropped and counted, and once the reader is back and has all that waited, it is told in a
//! line of its own how many are missing there. So the lines that do arrive are in order, and the gap is where
//! it was.
//!
//! tracing-appender's non-blocking writer was weighed against this. It bounds lines and not bytes (128,000
//! lines of 2 KB are 256 MB), tells no reader of a gap, waits for the reader's last lines for a second,
//! whether they move or not, and must start its thread with the log, which here comes before root is given up.

use crate::model::limits::{LOG_FLUSH_STALL_TIMEOUT, LOG_FLUSH_TIMEOUT, LOG_QUEUE_BYTES_MAX, LOG_RETRY_INTERVAL};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::ThreadId,
    time::{Duration, Instant},
};

/// What a pipe that can be written takes at once without waiting (PIPE_BUF, pipe(7)).
const PIECE_BYTES: usize = 4096;

/// The lines on their way to one file.
pub(super) struct LineQueue {
    sink: File,
    state: Mutex<LineQueueState>,
    /// Something is there to be written.
    came: Condvar,
    /// Something was written, or refused.
    went: Condvar,
    /// The thread that writes, once there may be threads.
    writer: OnceLock<ThreadId>,
    /// The last write was refused: its reader went away, its disk is full.
    is_refused: AtomicBool,
}

#[derive(Default)]
struct LineQueueState {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of all that wait.
    bytes: usize,
    /// The writer has one in its hands.
    is_writing: bool,
    /// Lines that were written.
    written: u64,
    /// Lines that were lost since the reader was last told.
    unreported: u64,
    /// Lines that were lost in all.
    lost: u64,
}

/// What the writer does next.
enum NextWrite {
    Line(Vec<u8>),
    /// So many were lost behind what was written last.
    Gap(u64),
}

impl LineQueue {
    /// Lines that go to `sink`. Until [`LineQueue::write`] runs, each is written by whoever logs it where that
    /// needs no waiting.
    pub(super) fn to(sink: File) -> LineQueue {
        LineQueue {
            sink,
            state: Mutex::default(),
            came: Condvar::new(),
            went: Condvar::new(),
            writer: OnceLock::new(),
            is_refused: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, LineQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line with its line feed, without waiting for anybody.
    pub(super) fn take(&self, line: &[u8]) {
        if self.writer.get() == Some(&std::thread::current().id()) {
            // The writer tells of a gap.
            self.put(line);
            return;
        }
        let mut state = self.state();
        // After a gap nothing is taken before the reader knows of it.
        if state.unreported > 0 || state.bytes + line.len() > LOG_QUEUE_BYTES_MAX {
            state.lose(1);
            return;
        }
        state.bytes += line.len();
        state.waiting.push_back(line.to_vec());
        if self.writer.get().is_none() {
            self.put_ready(&mut state);
        }
        self.came.notify_one();
    }

    /// Lines that were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Writes what comes, for ever; `tell` logs a line that so many were lost.
    pub(super) fn write(&self, tell: impl Fn(u64)) {
        if self.writer.set(std::thread::current().id()).is_err() {
            return;
        }
        loop {
            match self.next() {
                NextWrite::Line(line) => {
                    self.put(&line);
                    self.settle(1, 1);
                }
                NextWrite::Gap(lost) => {
                    self.is_refused.store(false, Ordering::Relaxed);
                    tell(lost);
                    self.settle(0, lost);
                }
            }
        }
    }

    fn next(&self) -> NextWrite {
        let mut state = self.state();
        loop {
            state.is_writing = true;
            if let Some(line) = state.waiting.pop_front() {
                state.bytes -= line.len();
                return NextWrite::Line(line);
            }
            if state.unreported > 0 && !self.is_refused.load(Ordering::Relaxed) {
                return NextWrite::Gap(std::mem::take(&mut state.unreported));
            }
            state.is_writing = false;
            self.went.notify_all();
            state = if state.unreported == 0 {
                self.came.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let (state, _) = self
                    .came
                    .wait_timeout(state, LOG_RETRY_INTERVAL)
                    .unwrap_or_else(PoisonError::into_inner);
                self.is_refused.store(false, Ordering::Relaxed);
                state
            };
        }
    }

    /// Notes what became of the last write: `durable` lines, or `lost` where it was refused.
    fn settle(&self, written: u64, lost: u64) {
        let mut state = self.state();
        if !self.is_refused.load(Ordering::Relaxed) {
            state.written += written;
        } else if written > 0 {
            state.lose(lost);
        } else {
            // These are counted already, and the reader still does not know.
            state.unreported += lost;
        }
        self.went.notify_all();
    }

    /// Writes all of a line, however long its reader takes.
    fn put(&self, mut line: &[u8]) {
        let mut sink = &self.sink;
        while !line.is_empty() {
            match sink.write(line) {
                Ok(written) => line = &line[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process set the file that it shares with us so.
                Err(error) if error.kind() == ErrorKind::WouldBlock => drop(self.wait(PollTimeout::NONE)),
                Err(_) => break,
            }
        }
        self.is_refused.store(!line.is_empty(), Ordering::Relaxed);
    }

    /// Writes what waits, as far as that needs no waiting.
    fn put_ready(&self, state: &mut LineQueueState) {
        let mut sink = &self.sink;
        while let Some(line) = state.waiting.front_mut() {
            if !self.wait(PollTimeout::ZERO) {
                return;
            }
            let length = line.len();
            match sink.write(&line[..length.min(PIECE_BYTES)]) {
                Ok(written) => {
                    line.drain(..written);
                    state.bytes -= written;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // There is nowhere left to say it.
                Err(_) => {
                    line.clear();
                    state.bytes -= length;
                    state.lost += 1;
                }
            }
            if line.is_empty() {
                state.waiting.pop_front();
            }
        }
    }

    /// Whether the file takes something, or will never again, within that time.
    fn wait(&self, time: PollTimeout) -> bool {
        let mut files = [PollFd::new(self.sink.as_fd(), PollFlags::POLLOUT)];
        poll(&mut files, time).is_ok_and(|ready| ready > 0)
    }

    /// Waits until everything is written: for as long as the reader takes something, and for a while where it
    /// takes nothing.
    pub(super) fn flush(&self) {
        let began = Instant::now();
        let mut state = self.state();
        let mut moved = (state.written, began);
        while !self.is_done(&state)
            && moved.1.elapsed() < LOG_FLUSH_STALL_TIMEOUT
            && began.elapsed() < LOG_FLUSH_TIMEOUT
        {
            if self.writer.get().is_none() {
                // No other thread is there to write, or to log.
                let before = state.bytes;
                self.wait(poll_time(LOG_FLUSH_STALL_TIMEOUT));
                self.put_ready(&mut state);
                if state.bytes == before {
                    return;
                }
                moved.1 = Instant::now();
                continue;
            }
            let waited = self.went.wait_timeout(state, LOG_FLUSH_STALL_TIMEOUT);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.written != moved.0 {
                moved = (state.written, Instant::now());
            }
        }
    }

    fn is_done(&self, state: &LineQueueState) -> bool {
        let is_told = state.unreported == 0 || self.is_refused.load(Ordering::Relaxed) || self.writer.get().is_none();
        state.waiting.is_empty() && !state.is_writing && is_told
    }
}

impl LineQueueState {
    fn lose(&mut self, lines: u64) {
        self.unreported += lines;
        self.lost += lines;
    }
}

fn poll_time(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
}

/// Hands each line that tracing formats to the queue; tracing writes a whole line at once.
pub(super) struct LineWriter(pub(super) &'static LineQueue);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader, PipeReader, Read, pipe},
        os::fd::OwnedFd,
        sync::Arc,
    };

    /// A line of a kilobyte that begins with its number.
    fn line(number: usize) -> Vec<u8> {
        let mut line = format!("{number} {}", "x".repeat(1000)).into_bytes();
        line.push(b'\n');
        line
    }

    fn number(line: &str) -> usize {
        line.split(' ').next().unwrap().parse().unwrap()
    }

    fn queue() -> (Arc<LineQueue>, BufReader<PipeReader>) {
        let (reader, writer) = pipe().unwrap();
        let lines = Arc::new(LineQueue::to(File::from(OwnedFd::from(writer))));
        (lines, BufReader::new(reader))
    }

    /// The same, with the thread that writes.
    fn written() -> (Arc<LineQueue>, BufReader<PipeReader>) {
        let (lines, reader) = queue();
        let (theirs, teller) = (Arc::clone(&lines), Arc::clone(&lines));
        std::thread::spawn(move || theirs.write(|lost| teller.take(format!("lost {lost}\n").as_bytes())));
        while lines.writer.get().is_none() {
            std::thread::yield_now();
        }
        (lines, reader)
    }

    #[test]
    fn a_reader_that_stops_costs_nobody_a_wait_and_is_told_what_it_missed() {
        let (lines, reader) = written();
        let sent = 2 * LOG_QUEUE_BYTES_MAX / 1000;
        for number in 0..sent {
            lines.take(&line(number));
        }
        let lost = usize::try_from(lines.lost()).unwrap();
        assert!(lost > sent / 3, "{lost} of {sent} lost");
        let mut heard = reader.lines().map(Result::unwrap);
        for expected in 0..sent - lost {
            assert_eq!(number(&heard.next().unwrap()), expected);
        }
        assert_eq!(heard.next().unwrap(), format!("lost {lost}"), "in its place, and once");
        lines.take(&line(sent));
        assert_eq!(number(&heard.next().unwrap()), sent);
        assert_eq!(usize::try_from(lines.lost()).unwrap(), lost);
    }

    #[test]
    fn everything_is_there_after_a_flush_however_slow_the_reader_is() {
        let (lines, mut reader) = written();
        let sent = 200;
        for number in 0..sent {
            lines.take(&line(number));
        }
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut heard = String::new();
                while heard.lines().count() < sent {
                    let mut piece = [0; 700];
                    let length = reader.read(&mut piece).unwrap();
                    heard.push_str(std::str::from_utf8(&piece[..length]).unwrap());
                    std::thread::yield_now();
                }
                heard
            });
            lines.flush();
            assert_eq!(lines.state().written, 200);
            let heard = reading.join().unwrap();
            let numbers: Vec<usize> = heard.lines().map(number).collect();
            assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
        });
    }

    #[test]
    fn the_end_waits_for_no_reader_that_takes_nothing() {
        let (lines, _reader) = written();
        for number in 0..200 {
            lines.take(&line(number));
        }
        lines.flush();
        assert!(lines.state().written < 200);
    }

    #[test]
    fn before_there_are_threads_lines_go_out_at_once_and_the_rest_with_the_thread() {
        let (lines, mut reader) = queue();
        lines.take(b"early\n");
        let mut heard = String::new();
        reader.read_line(&mut heard).unwrap();
        assert_eq!(heard, "early\n");
        for number in 0..200 {
            lines.take(&line(number));
        }
        assert!(!lines.state().waiting.is_empty(), "a pipe holds less");
        let theirs = Arc::clone(&lines);
        std::thread::spawn(move || theirs.write(|_| {}));
        let heard: Vec<usize> = reader.lines().take(200).map(|line| number(&line.unwrap())).collect();
        assert_eq!(heard, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_start_that_fails_says_all_to_a_slow_reader_without_any_thread() {
        let (lines, reader) = queue();
        for number in 0..200 {
            lines.take(&line(number));
        }
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                reader
                    .lines()
                    .take(200)
                    .map(|line| number(&line.unwrap()))
                    .collect::<Vec<_>>()
            });
            lines.flush();
            assert!(lines.state().waiting.is_empty());
            assert_eq!(reading.join().unwrap(), (0..200).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_reader_that_went_away_costs_lines_and_no_time() {
        let (lines, reader) = written();
        drop(reader);
        lines.take(b"into the void\n");
        lines.flush();
        assert_eq!(lines.lost(), 1);
        lines.take(b"again\n");
        lines.flush();
        assert_eq!(lines.lost(), 2);
    }
}
