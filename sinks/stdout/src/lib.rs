//! One JSON line per reading on standard output.
//!
//! A pipe whose reader does not read blocks anyone who writes to it. So what the kernel takes without waiting is written at
//! once, which saves waking a thread for each reading; for everything else there is a thread of its own, and the async side
//! only waits for it. What was begun is finished before anything else is written: a full disk or a reader that pauses may
//! cut a line in two, but never leaves half a line before a whole one.

mod output;

use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroUsize;
#[cfg(unix)]
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, OnceLock, TryLockError};

use kstar_common::hold::Hold;
use kstar_common::worker::{NoAnswer, Worker};
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;
use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Keep, Policy};
use kstar_sink::sink::{Batch, Context, DeliveryError, Sink, SinkConfig, Unavailable};
use serde::Deserialize;

#[cfg(unix)]
use crate::output::AtOnce;
use crate::output::{ByThread, Output};

/// A line is some 1500 bytes at the most, so that one batch stays below 100 KiB of memory.
const BATCH: NonZeroUsize = NonZeroUsize::new(50).unwrap();

/// The section `[sinks.stdout]`: JSON lines on standard output.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StdoutConfig {
    /// How readings are delivered.
    pub delivery: DeliverySettings,
}

impl SinkConfig for StdoutConfig {
    const NAME: &'static str = "stdout";

    fn policy(&self) -> Policy {
        self.delivery.policy(Keep::Every, BATCH)
    }

    fn destination(&self, _context: &Context) -> String {
        "standard output".to_owned()
    }

    fn heeds(&self, _before: &Context, _after: &Context) -> bool {
        false
    }

    fn open(&self, _context: &Context) -> Result<Box<dyn Sink>, Unavailable> {
        Ok(Box::new(StdoutSink::to_file(io::stdout())))
    }
}

/// The sink: readings as JSON lines.
pub struct StdoutSink {
    printer: Arc<Mutex<Printer>>,
    /// The thread for what cannot be written at once, from the first time on that there is such.
    worker: Option<Worker<Arc<Mutex<Printer>>>>,
    hold: OnceLock<Hold>,
}

impl StdoutSink {
    /// A sink that writes to this, by the thread alone.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self::new(Box::new(ByThread(writer)))
    }

    /// A sink that writes to this pipe or file, at once where that is possible.
    #[cfg(unix)]
    pub fn to_file(writer: impl Write + AsFd + Send + 'static) -> Self {
        Self::new(Box::new(AtOnce(writer)))
    }

    /// A sink that writes to this file, by the thread alone.
    #[cfg(not(unix))]
    pub fn to_file(writer: impl Write + Send + 'static) -> Self {
        Self::to(writer)
    }

    fn new(output: Box<dyn Output>) -> Self {
        Self {
            printer: Arc::new(Mutex::new(Printer {
                output,
                has_at_once: true,
                begun: Vec::new(),
                printed: HashSet::new(),
            })),
            worker: None,
            hold: OnceLock::new(),
        }
    }

    fn worker(&mut self) -> Result<&Worker<Arc<Mutex<Printer>>>, DeliveryError> {
        if self.worker.is_none() {
            let printer = Arc::clone(&self.printer);
            let worker = Worker::start("stdout", printer, None).map_err(|error| {
                DeliveryError::unreachable(format!(
                    "cannot start a thread for standard output: {error}; raise the limit of processes (ulimit -u)"
                ))
            })?;
            if let Some(hold) = self.hold.get() {
                worker.hold(hold.clone());
            }
            self.worker = Some(worker);
        }
        self.worker.as_ref().ok_or_else(gone)
    }

    /// Has the thread do it.
    async fn call(
        &mut self,
        job: impl FnOnce(&mut Printer) -> Result<(), DeliveryError> + Send + 'static,
    ) -> Result<(), DeliveryError> {
        let job = move |printer: &mut Arc<Mutex<Printer>>| match printer.lock() {
            Ok(mut printer) => job(&mut printer),
            Err(_) => Err(gone()),
        };
        let answer = self.worker()?.call(job).await;
        answer.unwrap_or_else(|no_answer| {
            Err(match no_answer {
                NoAnswer::Busy => stopped_reading(),
                NoAnswer::Gone => gone(),
            })
        })
    }
}

fn stopped_reading() -> DeliveryError {
    DeliveryError::unreachable(
        "the program that reads standard output has stopped reading; output goes on when it does",
    )
}

fn gone() -> DeliveryError {
    DeliveryError::unreachable(
        "the thread that writes to standard output has ended; restart the program",
    )
}

#[async_trait]
impl Sink for StdoutSink {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<(), DeliveryError> {
        match self.printer.try_lock() {
            Ok(mut printer) => {
                if printer.print_at_once(batch)? {
                    return Ok(());
                }
            }
            Err(TryLockError::WouldBlock) => return Err(stopped_reading()),
            Err(TryLockError::Poisoned(_)) => return Err(gone()),
        }
        let readings = batch.to_vec();
        self.call(move |printer| printer.print(&readings)).await
    }

    fn hold(&self, hold: Hold) {
        // Only the first one is kept.
        drop(self.hold.set(hold));
    }

    async fn close(mut self: Box<Self>) -> Result<(), DeliveryError> {
        if self.worker.is_none() {
            // Everything was written at once, and nothing waits.
            return Ok(());
        }
        self.call(Printer::finish).await
    }
}

/// What writes lines, at once or on the thread.
struct Printer {
    output: Box<dyn Output>,
    /// The output was never found to be without it.
    has_at_once: bool,
    /// Lines, or the rest of one, that were begun and are not written yet.
    begun: Vec<u8>,
    /// The keys of the last batch. Only those can come again: the driver sends nothing newer before they are settled.
    printed: HashSet<(Arc<str>, UnixMillis)>,
}

impl Printer {
    /// Writes as many of these readings as can be written without waiting, and says whether those were all.
    fn print_at_once(&mut self, batch: &Batch<'_>) -> Result<bool, DeliveryError> {
        if !self.has_at_once || !self.begun.is_empty() {
            return Ok(false);
        }
        self.begin(batch.iter())?;
        match self.output.write_at_once(&self.begun) {
            Ok(written) => {
                self.begun.drain(..written);
            }
            // A full pipe, or a reader that has gone: the thread finds out.
            Err(error) if error.kind() != ErrorKind::Unsupported => {}
            Err(_) => self.has_at_once = false,
        }
        Ok(self.begun.is_empty())
    }

    fn print(&mut self, readings: &[Arc<Reading>]) -> Result<(), DeliveryError> {
        self.finish()?;
        self.begin(readings.iter().map(|reading| &**reading))?;
        self.finish()
    }

    /// Puts down the lines of those readings that are not those of the last batch.
    fn begin<'a>(
        &mut self,
        readings: impl ExactSizeIterator<Item = &'a Reading>,
    ) -> Result<(), DeliveryError> {
        let mut keys = HashSet::with_capacity(readings.len());
        for reading in readings {
            let key = (Arc::clone(&reading.inverter.name), reading.time);
            if !self.printed.contains(&key) && !keys.contains(&key) {
                serde_json::to_writer(&mut self.begun, reading)
                    .map_err(|error| DeliveryError::rejected(error.to_string()))?;
                self.begun.push(b'\n');
            }
            keys.insert(key);
        }
        self.printed = keys;
        Ok(())
    }

    /// Writes what was begun.
    fn finish(&mut self) -> Result<(), DeliveryError> {
        let mut written = 0;
        let outcome = loop {
            match self.begun.get(written..) {
                None | Some([]) => break self.output.flush(),
                Some(rest) => match self.output.write(rest) {
                    Ok(0) => break Err(ErrorKind::WriteZero.into()),
                    Ok(count) => written += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => break Err(error),
                },
            }
        };
        self.begun.drain(..written);
        outcome.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => DeliveryError::Closed,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DeliveryError::unreachable(format!(
                "cannot write to standard output: {error}; make room on the disk of the file it goes to"
            )),
            _ => DeliveryError::unreachable(format!(
                "cannot write to standard output: {error}; look at where it was redirected to"
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstar_sink::testing::{full_reading, reading};
    use std::sync::Mutex;

    /// A file on a disk that has room for so many bytes, and takes at most 100 at a time.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn with_room(room: usize) -> Self {
            Self(Arc::new(Mutex::new((Vec::new(), room))))
        }

        fn grow(&self, room: usize) {
            self.0.lock().unwrap().1 = room;
        }

        fn content(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (file, room) = &mut *self.0.lock().unwrap();
            let count = bytes.len().min(100).min(*room - file.len());
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            file.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(readings: &[Arc<Reading>]) -> String {
        readings
            .iter()
            .map(|reading| serde_json::to_string(&**reading).unwrap() + "\n")
            .collect()
    }

    #[tokio::test]
    async fn a_reading_is_one_line_and_flushed() {
        struct Flushes(Arc<Mutex<Vec<usize>>>, usize);
        impl Write for Flushes {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += bytes.len();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                self.0.lock().unwrap().push(self.1);
                Ok(())
            }
        }
        let flushed = Arc::new(Mutex::new(Vec::new()));
        let mut sink = StdoutSink::to(Flushes(Arc::clone(&flushed), 0));
        let readings = [full_reading("roof", 1), reading("barn", 1)];
        sink.deliver(&Batch::new(&readings)).await.unwrap();
        let length = lines(&readings).len();
        assert_eq!(flushed.lock().unwrap().last(), Some(&length));
    }

    #[tokio::test]
    async fn a_line_that_a_full_disk_cut_is_finished_when_there_is_room() {
        let readings = [1, 2, 3].map(|time| full_reading("roof", time));
        let whole = lines(&readings);
        let disk = Disk::with_room(whole.len() / 2);
        let mut sink = StdoutSink::to(disk.clone());
        for _ in 0..2 {
            let outcome = sink.deliver(&Batch::new(&readings)).await;
            let Err(DeliveryError::Unreachable { reason, .. }) = outcome else {
                panic!("{outcome:?}");
            };
            assert!(reason.contains("standard output") && reason.contains("make room"));
        }
        assert_eq!(disk.content(), whole[..whole.len() / 2]);

        disk.grow(1 << 20);
        let later: Vec<_> = readings
            .iter()
            .cloned()
            .chain([full_reading("roof", 4)])
            .collect();
        sink.deliver(&Batch::new(&later)).await.unwrap();
        assert_eq!(disk.content(), lines(&later));
    }

    #[tokio::test]
    async fn a_line_that_was_begun_is_finished_at_close() {
        let readings = [full_reading("roof", 1)];
        let disk = Disk::with_room(10);
        let mut sink = StdoutSink::to(disk.clone());
        sink.deliver(&Batch::new(&readings)).await.unwrap_err();
        disk.grow(1 << 20);
        Box::new(sink).close().await.unwrap();
        assert_eq!(disk.content(), lines(&readings));
    }

    #[tokio::test]
    async fn a_closed_pipe_is_the_end_and_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut sink = StdoutSink::to(writer);
        let outcome = sink.deliver(&Batch::new(&[reading("roof", 1)])).await;
        assert_eq!(outcome, Err(DeliveryError::Closed));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_a_pipe_has_room_for_is_written_without_the_thread() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = StdoutSink::to_file(writer);
        let readings: Vec<_> = (1..=200).map(|time| full_reading("roof", time)).collect();
        sink.deliver(&Batch::new(&readings[..1])).await.unwrap();
        let takes_at_once = sink.printer.lock().unwrap().has_at_once;
        assert_eq!(sink.worker.is_none(), takes_at_once);

        // More than a pipe holds: the thread waits for anyone who reads.
        let whole = lines(&readings);
        assert!(whole.len() > 1 << 16);
        let expected = whole.len();
        let reading = std::thread::spawn(move || {
            let mut text = vec![0; expected];
            io::Read::read_exact(&mut reader, &mut text).map(|()| text)
        });
        for batch in readings[1..].chunks(50) {
            sink.deliver(&Batch::new(batch)).await.unwrap();
        }
        assert!(sink.worker.is_some() || !takes_at_once);
        Box::new(sink).close().await.unwrap();
        let text = reading.join().unwrap().unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), whole);
    }

    #[test]
    fn an_unknown_key_is_refused_and_an_empty_section_is_enough() {
        let config: StdoutConfig = toml::from_str("").unwrap();
        assert_eq!(config.policy().batch, BATCH);
        let error = toml::from_str::<StdoutConfig>("colour = true").unwrap_err();
        assert!(error.message().contains("colour"), "{error}");
    }
}
