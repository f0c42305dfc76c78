//! The least that a poll costs: one thread, no runtime, and nothing done that the work does not need.
//!
//! `kstar-floor INVERTER FOLDER INTERVAL_MS [BROKER]` polls an AA55 inverter at a fixed interval. Each poll is a fresh UDP
//! socket, one exchange, one row in a SQLite history (WAL, `synchronous=NORMAL`), one JSON line to standard output, one
//! record to a log, and with a broker (`host:port`) the JSON as one MQTT message (`QoS` 1). `benches/program.py` measures
//! the collector against it. It has no tries, no checks of values, no queues and no orderly end: those are what the
//! collector costs more.

mod columns;
mod mqtt;

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Statement, params_from_iter};

use crate::columns::{COLUMNS, Meter};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// "Send running data", PROTOCOL section 4.
const REQUEST: [u8; 9] = [0xAA, 0x55, 0xB0, 0x7F, 0x01, 0x06, 0x00, 0x02, 0x35];
const REPLY_BEGINS: [u8; 7] = [0xAA, 0x55, 0x7F, 0xB0, 0x01, 0x86, 83];
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (inverter, folder, interval, broker) = match arguments.as_slice() {
        [inverter, folder, interval] => (inverter, folder, interval, None),
        [inverter, folder, interval, broker] => (inverter, folder, interval, Some(broker)),
        _ => return Err("usage: kstar-floor INVERTER FOLDER INTERVAL_MS [BROKER]".into()),
    };
    let interval = Duration::from_millis(interval.parse()?);
    let folder = Path::new(folder);
    let history = open_history(&folder.join("history.db"))?;
    let mut row = history.prepare(&insert())?;
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("meter.log"))?;
    let mut broker = broker
        .map(|address| mqtt::Broker::connect(address))
        .transpose()?;

    let mut meter = Meter::default();
    let mut next = Instant::now();
    loop {
        let asked = Instant::now();
        let payload = exchange(inverter)?;
        let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let reply_ms = i64::try_from(asked.elapsed().as_millis())?;
        let values = columns::values(&payload, now_ms, reply_ms, &mut meter);
        let line = json(&values)?;
        // The acknowledgement travels while the rest is done.
        let sent = broker
            .as_mut()
            .map(|broker| broker.publish("floor/inverter/state", line.trim_end()))
            .transpose()?;
        store(&mut row, &values)?;
        std::io::stdout().lock().write_all(line.as_bytes())?;
        append(&mut log, &meter)?;
        if let (Some(broker), Some(sent)) = (&mut broker, sent) {
            broker.acknowledged(sent)?;
        }
        next += interval;
        sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Asks on a socket of its own, so that no late reply to an earlier poll is taken.
fn exchange(inverter: &str) -> Outcome<Vec<u8>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(inverter)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&REQUEST)?;
    let mut datagram = [0; 256];
    let length = socket.recv(&mut datagram)?;
    let frame = datagram.get(..length).unwrap_or_default();
    let (body, checksum) = frame.split_last_chunk().ok_or("a reply too short")?;
    let sum: u16 = body.iter().map(|&byte| u16::from(byte)).sum();
    match body.strip_prefix(&REPLY_BEGINS) {
        Some(payload) if sum.to_be_bytes() == *checksum => Ok(payload.to_vec()),
        _ => Err("not a reply with running data".into()),
    }
}

fn open_history(path: &Path) -> Outcome<Connection> {
    let history = Connection::open(path)?;
    history.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?;
    let columns = COLUMNS.map(|column| format!(", \"{}\" INTEGER", column.name));
    history.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS readings (time INTEGER PRIMARY KEY{})",
        columns.concat()
    ))?;
    Ok(history)
}

fn insert() -> String {
    format!(
        "INSERT INTO readings VALUES (?{})",
        ", ?".repeat(COLUMNS.len())
    )
}

fn store(row: &mut Statement, values: &columns::Values) -> Outcome<()> {
    row.execute(params_from_iter(
        [values.time_ms].iter().chain(&values.columns),
    ))?;
    Ok(())
}

fn json(values: &columns::Values) -> Outcome<String> {
    let mut line = String::with_capacity(2048);
    write!(line, "{{\"time\":{}", values.time_ms)?;
    for (column, &value) in COLUMNS.iter().zip(&values.columns) {
        write!(line, ",\"{}\":", column.name)?;
        let scale = 10_i64.pow(column.decimals);
        let (whole, rest) = (value / scale, value % scale);
        match column.decimals {
            0 => write!(line, "{value}")?,
            decimals => write!(line, "{whole}.{rest:0width$}", width = decimals as usize)?,
        }
    }
    line.push_str("}\n");
    Ok(line)
}

/// What a restart would need to count on.
fn append(log: &mut File, meter: &Meter) -> Outcome<()> {
    let mut record = String::with_capacity(256);
    write!(record, "{{\"last_ms\":{}", meter.last_ms)?;
    for (name, total) in columns::METERED.iter().zip(&meter.totals) {
        write!(record, ",\"{name}\":{total}")?;
    }
    record.push_str("}\n");
    log.write_all(record.as_bytes())?;
    Ok(())
}
