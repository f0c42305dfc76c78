//! `kstar explain`: what each byte of a datagram means, or why it means nothing.
//!
//! It is written for bug reports: whatever is given, also half a frame, is explained as far as it goes. Every byte
//! of the datagram stands in exactly one row. A recording is explained register by register.

use std::io::{Read, Write};
use std::path::PathBuf;

use kstar_common::wrapping::wrapped;
use kstar_engine::pipeline::ledger::quarantine;
use kstar_model::catalogue::{Quantity, Values};
use kstar_source::explain::{Explanation, Row, Shown};

use super::shared::args::ConfigArgs;
use super::shared::failure::Failure;
use crate::registry::explain;

mod recording;

/// Terminals are at least that wide.
const WIDTH: usize = 100;

/// Explain each byte of a datagram given in hexadecimal digits, or each register of a recording
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ExplainArgs {
    /// The bytes in hexadecimal; spaces, colons, commas, line breaks and 0x are passed over.
    /// Without any, or with "-", they are read from standard input
    #[arg(value_name = "HEX")]
    pub hex: Vec<String>,
    /// Explain a recording of `kstar record` instead: every register of every block, with how it moved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hex", "quarantine"])]
    pub recording: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show the readings that the gate has rejected, the newest last, with their bytes
    #[arg(long, conflicts_with = "hex")]
    pub quarantine: bool,
    /// Where the configuration is, which says where those readings are kept.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Runs the command.
pub fn run(args: &ExplainArgs, out: &mut impl Write) -> Result<(), Failure> {
    if let Some(path) = &args.recording {
        return recording::show(path, args.json, out);
    }
    if args.quarantine {
        return show_quarantine(args, out);
    }
    let text = match args.hex.as_slice() {
        [] => from_standard_input()?,
        [dash] if dash == "-" => from_standard_input()?,
        words => words.join(" "),
    };
    let datagram = bytes(&text)?;
    let explanation = explain(&datagram);
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &explanation)?;
        writeln!(out)?;
        Ok(())
    } else {
        write_text(&explanation, out)
    }
}

fn show_quarantine(args: &ExplainArgs, out: &mut impl Write) -> Result<(), Failure> {
    let folder = args.config.config()?.state_dir();
    let path = quarantine::path(&folder);
    let kept = quarantine::read(&folder)
        .map_err(|error| Failure::Runtime(format!("cannot read {}: {error}", path.display())))?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &kept)?;
        writeln!(out)?;
        return Ok(());
    }
    if kept.is_empty() {
        writeln!(
            out,
            "no reading was rejected, as far as {} knows",
            path.display()
        )?;
    }
    for refused in kept {
        writeln!(out, "{} {}", refused.time, refused.inverter)?;
        for line in wrapped(&refused.reason, WIDTH - 2) {
            writeln!(out, "  {line}")?;
        }
        writeln!(out, "  kstar explain {}", refused.datagram)?;
    }
    Ok(())
}

fn from_standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Runtime(format!("cannot read standard input: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes that a text of hexadecimal digits stands for.
fn bytes(text: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut high: Option<u32> = None;
    let mut letters = text.chars().enumerate().peekable();
    while let Some((index, letter)) = letters.next() {
        let prefixed = matches!(letters.peek(), Some((_, 'x' | 'X')));
        if letter == '0' && high.is_none() && prefixed {
            letters.next();
        } else if let Some(digit) = letter.to_digit(16) {
            high = match high {
                None => Some(digit),
                Some(high) => {
                    bytes.extend(u8::try_from(high * 16 + digit));
                    None
                }
            };
        } else if !(letter.is_whitespace() || matches!(letter, ':' | ',')) {
            return Err(Failure::Usage(format!(
                "{letter:?} at character {} is no hexadecimal digit",
                index + 1
            )));
        }
    }
    if high.is_some() {
        return Err(Failure::Usage(format!(
            "an odd number of hexadecimal digits, {}, expected two for each byte",
            bytes.len() * 2 + 1
        )));
    }
    if bytes.is_empty() {
        return Err(Failure::Usage(
            "no bytes; give a datagram in hexadecimal digits, like aa55b07f0106000235".to_owned(),
        ));
    }
    Ok(bytes)
}

fn write_text(explanation: &Explanation, out: &mut impl Write) -> Result<(), Failure> {
    let columns = |row: &dyn Fn(&Row) -> usize, least: usize| {
        let rows = explanation.parts.iter().flat_map(|part| &part.rows);
        rows.map(row).max().unwrap_or(0).max(least)
    };
    let hex = columns(&|row| row.hex.len(), 5);
    let field = columns(&|row| row.field.len(), 5);
    let raw_text = |row: &Row| row.raw.map(|raw| raw.to_string()).unwrap_or_default();
    let raw = columns(&|row| raw_text(row).len(), 3);
    let indent = 4 + 1 + 6 + 2 + hex + 2 + field + 2 + raw + 2;
    writeln!(out, "{} bytes", explanation.length)?;
    for part in &explanation.parts {
        writeln!(out, "\nfrom byte {}: {}", part.position, part.what)?;
        if let Some(refusal) = &part.refusal {
            writeln!(out, "not taken: {refusal}")?;
        }
        writeln!(
            out,
            "{:>4} {:>6}  {:hex$}  {:field$}  {:>raw$}  meaning",
            "byte", "offset", "bytes", "field", "raw"
        )?;
        for row in &part.rows {
            let offset = row
                .offset
                .map(|offset| offset.to_string())
                .unwrap_or_default();
            let mut lines = wrapped(&row.meaning, WIDTH.saturating_sub(indent).max(30)).into_iter();
            let line = format!(
                "{:>4} {offset:>6}  {:hex$}  {:field$}  {:>raw$}  {}",
                row.position,
                row.hex,
                row.field,
                raw_text(row),
                lines.next().unwrap_or_default()
            );
            writeln!(out, "{}", line.trim_end())?;
            for line in lines {
                writeln!(out, "{:indent$}{line}", "")?;
            }
        }
        if let Some(Shown(values)) = &part.values {
            write_values(values, &part.rows, out)?;
        }
    }
    Ok(())
}

fn write_values(values: &Values, rows: &[Row], out: &mut impl Write) -> Result<(), Failure> {
    writeln!(out, "\na reading of it")?;
    for (quantity, value) in values.present() {
        let line = format!("  {quantity:<24} {value} {}", quantity.description().unit);
        writeln!(out, "{}", line.trim_end())?;
    }
    // Of what stands in such a reply; other families have more.
    let is_told = |name| rows.iter().any(|row| row.quantity == Some(name));
    let absent: Vec<&str> = Quantity::ALL
        .iter()
        .filter(|quantity| is_told(quantity.name()) && values.raw(**quantity).is_none())
        .map(|quantity| quantity.name())
        .collect();
    if !absent.is_empty() {
        let text = format!("absent: {}", absent.join(", "));
        for line in wrapped(&text, WIDTH - 2) {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[cfg(feature = "aa55")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use kstar_source::datagram::Hex;

    /// The payload 0106 of PROTOCOL 10, column import-discharge-heavy.
    const RUNNING: &str = "aa557fb001865305dc002d02062100420201fb000000000000011b0000000001004c004c000200\
        0000092100781a5a138b01092100052458138b0102019e000000000000395a0000108f00260023000046d60acc010030020003\
        0d79";

    fn shown(hex: &str) -> String {
        let args = ExplainArgs {
            hex: vec![hex.to_owned()],
            json: false,
            ..ExplainArgs::default()
        };
        let mut out = Vec::new();
        run(&args, &mut out).expect("bytes");
        String::from_utf8(out).expect("text")
    }

    #[track_caller]
    fn check_row(text: &str, row: &str) {
        let row: Vec<&str> = row.split_whitespace().collect();
        let found = text
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>() == row);
        assert!(found, "no row {row:?} in\n{text}");
    }

    #[test]
    fn digits_are_taken_in_every_usual_dress() {
        for text in [
            "aa557f",
            "AA 55 7F",
            "aa:55:7f\n",
            "0xAA,0x55, 0x7f",
            "0xaa557f",
            "a a557f",
        ] {
            assert_eq!(bytes(text).ok(), Some(vec![0xaa, 0x55, 0x7f]), "{text}");
        }
        assert_eq!(bytes("00 0x00").ok(), Some(vec![0, 0]));
    }

    #[test]
    fn what_is_no_digit_is_told_with_its_place() {
        let told = |text| bytes(text).expect_err("no bytes").to_string();
        assert_eq!(told("aa5g"), "'g' at character 4 is no hexadecimal digit");
        assert_eq!(told("ä"), "'ä' at character 1 is no hexadecimal digit");
        assert_eq!(
            told("aa5"),
            "an odd number of hexadecimal digits, 3, expected two for each byte"
        );
        assert!(told("").starts_with("no bytes"));
        assert!(matches!(bytes("xx"), Err(Failure::Usage(_))));
    }

    #[test]
    fn running_data_is_explained_byte_by_byte() {
        let text = shown(RUNNING);
        check_row(&text, "from byte 0: a reply with running data");
        check_row(&text, "0 aa55 header every frame begins so");
        check_row(&text, "6 53 length 83 bytes of payload, 92 in all");
        check_row(&text, "7 0 05dc vpv1 1500 pv1_voltage 150 V");
        check_row(
            &text,
            "36 29 00 battery_soh 0 battery_soh absent, although 0 % stands here",
        );
        check_row(&text, "34 27 00 cbattery2 0 not read: 0 everywhere");
        check_row(
            &text,
            "25 18 011b ibattery1 283 battery_current -28.3 A, its size is 28.3 A",
        );
        check_row(&text, "37 30 02 battery_mode 2 battery_mode discharging");
        check_row(
            &text,
            "31 24 0100 bms_error 256 bms_errors no_bms_communication",
        );
        check_row(&text, "90 0d79 checksum the sum of all bytes before, right");
        check_row(&text, "battery_power -1434.81 W");
        assert!(
            text.contains("absent: battery_soh, battery_temperature"),
            "{text}"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn a_cut_frame_is_explained_as_far_as_it_goes() {
        let text = shown(&RUNNING.replace(char::is_whitespace, "")[..100]);
        check_row(
            &text,
            "not taken: frame at byte 0 cut off: 50 bytes, expected 92",
        );
        check_row(&text, "7 0 05dc vpv1 1500 pv1_voltage 150 V");
        check_row(&text, "49 42 01 grid_mode 1 inverter_state on");
        assert!(!text.contains("a reading of it"), "{text}");
        let in_a_field = shown(&RUNNING[..16]);
        check_row(&in_a_field, "7 0 05 vpv1 cut off");
    }

    #[test]
    fn a_wrong_sum_is_told_with_the_right_one() {
        let wrong = RUNNING
            .replace(char::is_whitespace, "")
            .replace("0d79", "0d78");
        let text = shown(&wrong);
        check_row(
            &text,
            "not taken: checksum 0x0d78 at byte 90, expected 0x0d79",
        );
        check_row(
            &text,
            "90 0d78 checksum the sum of all bytes before is 0d79",
        );
        assert!(!text.contains("a reading of it"), "{text}");
    }

    #[test]
    fn other_datagrams_are_called_by_their_name() {
        for (hex, what) in [
            ("aa55b07f0106000235", "a request for running data"),
            ("aa55c07f0109000248", "a request for settings"),
            (
                "aa557fc0039d010602e5",
                "a reply 039d to the command 031d of another program",
            ),
            ("aa55f7830220c3", "a Modbus reply in the header of AA55"),
            (
                "aa55c07f031d0002",
                "a command 031d; this program never sends one",
            ),
            ("aa557fb001990000", "a reply of the unknown type 0199"),
            ("00000000", "bytes that belong to no frame; searched past"),
            (
                "3139322e3136382e312e35302c4143434632333030303030312c48462d4c50423178303030",
                "a WiFi module's answer to the greeting",
            ),
            (
                "574946494b49542d3231343032382d52454144",
                "the greeting to WiFi modules, sent to port 48899",
            ),
        ] {
            check_row(&shown(hex), &format!("from byte 0: {what}"));
        }
        let exception = shown("aa55f7830220c3");
        check_row(&exception, "3 83 function exception to function 03");
        check_row(&exception, "4 02 exception code");
    }

    #[test]
    fn each_part_of_a_datagram_is_explained() {
        let text = shown(&format!("0000 aa557fc0039d010602e5 {RUNNING} ffff"));
        for what in [
            "from byte 0: bytes that belong to no frame; searched past",
            "from byte 2: a reply 039d to the command 031d of another program",
            "from byte 12: a reply with running data",
            "from byte 104: bytes that belong to no frame; searched past",
        ] {
            check_row(&text, what);
        }
        check_row(&text, "9 0 06 acknowledgement accepted");
    }

    #[test]
    fn device_info_shows_its_texts() {
        let mut datagram = vec![0xaa, 0x55, 0x7f, 0xb0, 0x01, 0x82, 47];
        datagram.extend(b"2323GKSE4000   KSTAR           KSE4000000000001");
        let sum: u16 = datagram.iter().copied().map(u16::from).sum();
        datagram.extend(sum.to_be_bytes());
        let text = shown(&Hex(&datagram).to_string());
        assert!(text.contains("Serial number: KSE4000000000001"), "{text}");
        assert!(text.contains("Model: KSE4000"), "{text}");
    }

    #[test]
    fn json_holds_the_same() {
        let args = ExplainArgs {
            hex: vec![RUNNING.to_owned()],
            json: true,
            ..ExplainArgs::default()
        };
        let mut out = Vec::new();
        run(&args, &mut out).expect("bytes");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(json["length"], 92);
        assert_eq!(json["parts"][0]["values"]["pv_power"], 1710.54);
        let row = &json["parts"][0]["rows"][6];
        assert_eq!(
            *row,
            serde_json::json!({
                "position": 7, "offset": 0, "hex": "05dc", "field": "vpv1", "raw": 1500,
                "quantity": "pv1_voltage", "meaning": "pv1_voltage 150 V",
            })
        );
    }

    proptest! {
        #[test]
        fn every_byte_stands_in_exactly_one_row(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..30),
                    Just(vec![0xaa, 0x55]),
                    Just(vec![0xaa, 0x55, 0xf7]),
                    Just(vec![0xaa, 0x55, 0x7f, 0xb0, 0x01, 0x86, 0x53]),
                    Just(vec![0xaa, 0x55, 0x7f, 0xb0, 0x01, 0x82, 0x30]),
                    Just(bytes(RUNNING).expect("digits")),
                    Just(bytes("aa557fc0039d010602e5").expect("digits")),
                    Just(b"192.168.1.50,ACCF23000001,HF".to_vec()),
                ],
                1..6,
            ),
        ) {
            let datagram = parts.concat();
            let explanation = explain(&datagram);
            let rows = explanation.parts.iter().flat_map(|part| &part.rows);
            let all: String = rows.map(|row| row.hex.as_str()).collect();
            prop_assert_eq!(all, Hex(&datagram).to_string());
            let mut out = Vec::new();
            write_text(&explanation, &mut out).expect("a vector takes everything");
        }
    }
}
