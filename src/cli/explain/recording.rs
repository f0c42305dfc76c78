//! `kstar explain --recording`: what a recording says, register by register, or frame by frame where there are none.

use std::io::Write;
use std::path::Path;

use kstar_common::wrapping::wrapped;
use kstar_source::explain::{Explanation, RecordedBlock, RecordedReply, Register};
use serde::Serialize;

use super::{WIDTH, write_text};
use crate::cli::shared::failure::Failure;
use crate::cli::shared::recording::{Header, PassedOver, Recording};
use crate::registry::{Family, explain};

/// What a recording says.
#[derive(Serialize)]
struct Explained {
    recording: Header,
    /// Of families with registers.
    blocks: Vec<RecordedBlock>,
    /// Of others: the last reply to each request.
    frames: Vec<ExplainedFrame>,
    /// What was no reply.
    passed_over: Vec<PassedOver>,
}

#[derive(Serialize)]
struct ExplainedFrame {
    block: String,
    replies: usize,
    explanation: Explanation,
}

/// Shows it.
pub(super) fn show(path: &Path, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let recording = Recording::read(path)?;
    let place = path.display();
    let family: Family = recording
        .header
        .family
        .parse()
        .map_err(|error| Failure::Runtime(format!("{place}, line 1: {error}")))?;
    let replies = recording.replies();
    let blocks = family.usual_source().explain_recorded(&replies);
    let frames = if blocks.is_empty() {
        frames(&replies)
    } else {
        Vec::new()
    };
    let explained = Explained {
        recording: recording.header,
        blocks,
        frames,
        passed_over: recording.passed_over,
    };
    if json {
        serde_json::to_writer_pretty(&mut *out, &explained)?;
        writeln!(out)?;
        return Ok(());
    }
    write(&explained, out)
}

/// The last reply to each request, in the order in which they were asked first.
fn frames(replies: &[RecordedReply]) -> Vec<ExplainedFrame> {
    let mut frames: Vec<ExplainedFrame> = Vec::new();
    for reply in replies {
        let Some(bytes) = &reply.reply else {
            continue;
        };
        let explanation = explain(bytes);
        match frames.iter_mut().find(|known| known.block == reply.block) {
            Some(known) => {
                known.replies += 1;
                known.explanation = explanation;
            }
            None => frames.push(ExplainedFrame {
                block: reply.block.clone(),
                replies: 1,
                explanation,
            }),
        }
    }
    frames
}

fn write(explained: &Explained, out: &mut impl Write) -> Result<(), Failure> {
    let header = &explained.recording;
    write!(out, "{}", header.family)?;
    if let Some(via) = &header.via {
        write!(out, " via {via}")?;
    }
    if let Some(unit) = header.unit {
        write!(out, ", unit {unit}")?;
    }
    writeln!(
        out,
        ", recorded {} by kstar {}",
        header.time, header.program
    )?;
    for block in &explained.blocks {
        write_block(block, out)?;
    }
    for frame in &explained.frames {
        let times = times(frame.replies);
        writeln!(out, "\n{}, told {times}; the last reply:", frame.block)?;
        write_text(&frame.explanation, out)?;
    }
    if !explained.passed_over.is_empty() {
        writeln!(out, "\npassed over")?;
    }
    for passed_over in &explained.passed_over {
        let count = passed_over.bytes.0.len();
        let reason = &passed_over.passed_over;
        writeln!(out, "  {} {reason}, {count} bytes", passed_over.time)?;
    }
    Ok(())
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn write_block(block: &RecordedBlock, out: &mut impl Write) -> Result<(), Failure> {
    write!(out, "\n{}: {}, ", block.block, block.asked)?;
    match (&block.refusal, block.replies) {
        (Some(refusal), _) => writeln!(out, "not told: {refusal}")?,
        (None, 0) => writeln!(out, "no reply")?,
        (None, replies) => writeln!(out, "told {}", times(replies))?,
    }
    if block.registers.is_empty() {
        return Ok(());
    }
    let number = |number: Option<i64>| number.map(|raw| raw.to_string()).unwrap_or_default();
    let width = |text: &dyn Fn(&Register) -> String, least: usize| {
        let rows = block.registers.iter();
        rows.map(|row| text(row).len())
            .max()
            .unwrap_or(0)
            .max(least)
    };
    // Long texts say what they hold in the last column.
    let hex_of = |row: &Register| {
        if row.hex.len() > 16 {
            format!("{}…", row.hex.get(..12).unwrap_or_default())
        } else {
            row.hex.clone()
        }
    };
    let hex = width(&|row| row.hex.chars().take(16).collect(), 3);
    let raw = width(&|row| number(row.raw), 3);
    let lowest = width(&|row| number(row.lowest), 6);
    let highest = width(&|row| number(row.highest), 7);
    writeln!(
        out,
        "{:>8}  {:hex$}  {:>raw$}  {:>lowest$}  {:>highest$}  meaning",
        "register", "hex", "raw", "lowest", "highest"
    )?;
    let indent = 8 + 2 + hex + 2 + raw + 2 + lowest + 2 + highest + 2;
    for row in &block.registers {
        let mut lines = wrapped(&row.meaning, WIDTH.saturating_sub(indent).max(30)).into_iter();
        writeln!(
            out,
            "{:>8}  {:hex$}  {:>raw$}  {:>lowest$}  {:>highest$}  {}",
            row.register,
            hex_of(row),
            number(row.raw),
            number(row.lowest),
            number(row.highest),
            lines.next().unwrap_or_default()
        )?;
        for line in lines {
            writeln!(out, "{:indent$}{line}", "")?;
        }
    }
    Ok(())
}
