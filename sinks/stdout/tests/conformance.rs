//! The contract, over a real pipe: the server is away when its reader has stopped reading and the pipe is full.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end where its surroundings break"
)]

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::{Arc, Condvar, Mutex};

use kstar_sink::async_trait;
use kstar_sink::sink::Sink;
use kstar_sink::testing::{FarSide, Record, conformance, record_of_line};
use kstar_sink_stdout::StdoutSink;

/// What the server writes into its own pipe to know when it has read everything before.
const MARK: &[u8] = b"that is all\n";

#[derive(Default)]
struct Reader {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    away: bool,
    read: Vec<u8>,
}

impl Reader {
    fn run(&self, mut pipe: PipeReader) {
        let mut chunk = [0; 4096];
        loop {
            drop(
                self.changed
                    .wait_while(self.state.lock().unwrap(), |state| state.away)
                    .unwrap(),
            );
            let count = pipe.read(&mut chunk).unwrap();
            if count == 0 {
                return;
            }
            self.state
                .lock()
                .unwrap()
                .read
                .extend_from_slice(&chunk[..count]);
            self.changed.notify_all();
        }
    }
}

struct Pipe {
    writer: PipeWriter,
    reader: Arc<Reader>,
}

impl Pipe {
    fn new() -> Self {
        let (pipe, writer) = pipe().unwrap();
        let reader = Arc::new(Reader::default());
        let running = Arc::clone(&reader);
        std::thread::spawn(move || running.run(pipe));
        Self { writer, reader }
    }

    fn set_away(&self, away: bool) {
        self.reader.state.lock().unwrap().away = away;
        self.reader.changed.notify_all();
    }
}

#[async_trait]
impl FarSide for Pipe {
    fn sink(&mut self) -> Box<dyn Sink> {
        Box::new(StdoutSink::to_file(self.writer.try_clone().unwrap()))
    }

    async fn held(&mut self) -> Vec<Record> {
        self.writer.write_all(MARK).unwrap();
        let mut state = self
            .reader
            .changed
            .wait_while(self.reader.state.lock().unwrap(), |state| {
                !state.read.ends_with(MARK)
            })
            .unwrap();
        let end = state.read.len() - MARK.len();
        state.read.truncate(end);
        let text = std::str::from_utf8(&state.read).unwrap();
        text.lines().map(record_of_line).collect()
    }

    async fn go_away(&mut self) {
        self.set_away(true);
    }

    async fn come_back(&mut self) {
        self.set_away(false);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stdout_sink_keeps_the_contract() {
    conformance(Pipe::new()).await;
}
