//! One JSON line per reading on standard output.
//!
//! A pipe whose reader does not read blocks whoever writes to it, so a thread of its own owns the output and the
//! async side only waits for it. What was begun is finished before anything else is written: a full disk or a reader
//! that pauses may cut a line in two, but never leaves half a line before a whole one.

use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use kstar_common::hold::Hold;
use kstar_common::worker::{NoAnswer, Worker};
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;
use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Keep, Policy};
use kstar_sink::sink::{Batch, Context, DeliveryError, Sink, SinkConfig, Unavailable};
use serde::Deserialize;

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
        match StdoutSink::to(io::stdout()) {
            Ok(sink) => Ok(Box::new(sink)),
            Err(error) => Err(Unavailable(format!(
                "cannot start a thread for standard output: {error}; raise the limit of processes (ulimit -u)"
            ))),
        }
    }
}

/// The sink: readings as JSON lines.
pub struct StdoutSink {
    worker: Worker<Printer>,
}

impl StdoutSink {
    /// A sink that writes to standard output, or in a test to something else.
    pub fn to(writer: impl Write + Send + 'static) -> io::Result<Self> {
        let printer = Printer {
            writer: Box::new(writer),
            begun: Vec::new(),
            printed: HashSet::new(),
        };
        let worker = Worker::start("stdout", printer, None)?;
        Ok(Self { worker })
    }

    async fn call(
        &self,
        job: impl FnOnce(&mut Printer) -> Result<(), DeliveryError> + Send + 'static,
    ) -> Result<(), DeliveryError> {
        self.worker.call(job).await.unwrap_or_else(|no_answer| {
            Err(DeliveryError::unreachable(match no_answer {
                NoAnswer::Busy => {
                    "whoever reads standard output has stopped reading; it goes on when they do"
                }
                NoAnswer::Gone => {
                    "the thread that writes to standard output has ended; restart the program"
                }
            }))
        })
    }
}

#[async_trait]
impl Sink for StdoutSink {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<(), DeliveryError> {
        let readings = batch.to_vec();
        self.call(move |printer| printer.print(&readings)).await
    }

    fn hold(&self, hold: Hold) {
        self.worker.hold(hold);
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        self.call(Printer::finish).await
    }
}

/// What the thread owns.
struct Printer {
    writer: Box<dyn Write + Send>,
    /// Lines, or the rest of one, that were begun and are not written yet.
    begun: Vec<u8>,
    /// The keys of the last batch. Only those can come again: the driver sends nothing newer before they are settled.
    printed: HashSet<(Arc<str>, UnixMillis)>,
}

impl Printer {
    fn print(&mut self, readings: &[Arc<Reading>]) -> Result<(), DeliveryError> {
        self.finish()?;
        let mut keys = HashSet::with_capacity(readings.len());
        for reading in readings {
            let key = (Arc::clone(&reading.inverter.name), reading.time);
            if !self.printed.contains(&key) && !keys.contains(&key) {
                serde_json::to_writer(&mut self.begun, &**reading)
                    .map_err(|error| DeliveryError::rejected(error.to_string()))?;
                self.begun.push(b'\n');
            }
            keys.insert(key);
        }
        self.printed = keys;
        self.finish()
    }

    /// Writes what was begun.
    fn finish(&mut self) -> Result<(), DeliveryError> {
        let mut written = 0;
        let outcome = loop {
            match self.begun.get(written..) {
                None | Some([]) => break self.writer.flush(),
                Some(rest) => match self.writer.write(rest) {
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
        let mut sink = StdoutSink::to(Flushes(Arc::clone(&flushed), 0)).unwrap();
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
        let mut sink = StdoutSink::to(disk.clone()).unwrap();
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
        let mut sink = StdoutSink::to(disk.clone()).unwrap();
        sink.deliver(&Batch::new(&readings)).await.unwrap_err();
        disk.grow(1 << 20);
        Box::new(sink).close().await.unwrap();
        assert_eq!(disk.content(), lines(&readings));
    }

    #[tokio::test]
    async fn a_closed_pipe_is_the_end_and_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut sink = StdoutSink::to(writer).unwrap();
        let outcome = sink.deliver(&Batch::new(&[reading("roof", 1)])).await;
        assert_eq!(outcome, Err(DeliveryError::Closed));
    }

    #[test]
    fn an_unknown_key_is_refused_and_an_empty_section_is_enough() {
        let config: StdoutConfig = toml::from_str("").unwrap();
        assert_eq!(config.policy().batch, BATCH);
        let error = toml::from_str::<StdoutConfig>("colour = true").unwrap_err();
        assert!(error.message().contains("colour"), "{error}");
    }
}
