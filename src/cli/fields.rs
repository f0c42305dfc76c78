//! `kstar fields`: every quantity that a reading can hold, for people and for programs.
//!
//! All forms are made from the catalogue alone, so they cannot tell anything else than what is written.

use std::io::Write;

use kstar_common::wrapping::wrapped;
use kstar_model::catalogue::{Derivation, Group, Quantity};
use kstar_model::scalar::Kind;
use kstar_model::scalar::Labels;
use kstar_model::units::Decimal;
use serde_json::{Map, Value, json};

use super::shared::failure::Failure;

/// Terminals are at least that wide.
const WIDTH: usize = 100;

/// Show all quantities: name, unit, resolution, kind and meaning
#[derive(clap::Args, Clone, Copy, Debug, Default)]
#[group(multiple = false)]
pub struct FieldsArgs {
    /// As a JSON array, with all labels and with what follows from what
    #[arg(long)]
    pub json: bool,
    /// The JSON Schema (draft 2020-12) of one JSON line of a reading
    #[arg(long)]
    pub json_schema: bool,
    /// As a table in Markdown
    #[arg(long)]
    pub markdown: bool,
}

/// Runs the command.
pub fn run(args: FieldsArgs, out: &mut impl Write) -> Result<(), Failure> {
    if args.json {
        let all: Vec<Value> = Quantity::ALL.iter().copied().map(description).collect();
        writeln!(out, "{:#}", Value::Array(all))?;
    } else if args.json_schema {
        writeln!(out, "{:#}", kstar_model::json::schema())?;
    } else if args.markdown {
        markdown(out)?;
    } else {
        table(out)?;
    }
    Ok(())
}

/// The quantities with their groups, each group named at its first.
fn grouped() -> impl Iterator<Item = (Option<Group>, Quantity)> {
    let mut before = None;
    Quantity::ALL.iter().map(move |quantity| {
        let group = quantity.description().group;
        let first = (before != Some(group)).then_some(group);
        before = Some(group);
        (first, *quantity)
    })
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Measurement => "measurement",
        Kind::Counter => "counter",
        Kind::Mode(_) => "mode",
        Kind::Flags(_) => "flags",
        Kind::Bits => "bits",
        Kind::Clock => "clock",
    }
}

/// The smallest step of a number; a mode, a set or a clock has none.
fn resolution(quantity: Quantity) -> Option<Decimal> {
    let description = quantity.description();
    let decimals = description.decimals;
    matches!(description.kind, Kind::Measurement | Kind::Counter)
        .then_some(Decimal { raw: 1, decimals })
}

fn table(out: &mut impl Write) -> Result<(), Failure> {
    for (group, quantity) in grouped() {
        let description = quantity.description();
        if let Some(group) = group {
            if quantity != Quantity::ALL.first().copied().unwrap_or(quantity) {
                writeln!(out)?;
            }
            writeln!(out, "{}", group.label())?;
        }
        let step = resolution(quantity).map_or_else(String::new, |step| step.to_string());
        let row = format!(
            "  {quantity:<24} {:<4} {step:<5} {:<12}",
            description.unit,
            kind_name(description.kind),
        );
        let label = description.label;
        if row.chars().count() + 1 + label.chars().count() <= WIDTH {
            writeln!(out, "{row} {label}")?;
        } else {
            writeln!(out, "{}\n      {label}", row.trim_end())?;
        }
        let labels = match description.kind {
            Kind::Mode(labels) => list(labels, "codes"),
            Kind::Flags(labels) => list(labels, "bits"),
            _ => String::new(),
        };
        for text in [description.meaning, &labels] {
            for line in wrapped(text, WIDTH - 6) {
                writeln!(out, "      {line}")?;
            }
        }
    }
    Ok(())
}

fn list(labels: Labels, of: &str) -> String {
    if labels.0.is_empty() {
        return format!("{of}: none has a name");
    }
    let words: Vec<String> = labels
        .0
        .iter()
        .map(|(code, label)| format!("{code}={label}"))
        .collect();
    format!("{of}: {}", words.join(", "))
}

fn markdown(out: &mut impl Write) -> Result<(), Failure> {
    writeln!(out, "| name | unit | meaning |\n|---|---|---|")?;
    for (group, quantity) in grouped() {
        if let Some(group) = group {
            writeln!(out, "| **{}** | | |", group.label())?;
        }
        let description = quantity.description();
        let meaning = description.meaning.replace('|', "\\|");
        writeln!(out, "| `{quantity}` | {} | {meaning} |", description.unit)?;
    }
    Ok(())
}

/// Everything about a quantity.
fn description(quantity: Quantity) -> Value {
    let description = quantity.description();
    let mut object = Map::new();
    let mut insert = |key: &str, value: Value| object.insert(key.to_owned(), value);
    insert("name", json!(description.name));
    insert("label", json!(description.label));
    insert("meaning", json!(description.meaning));
    insert("group", json!(description.group.label()));
    insert("kind", json!(kind_name(description.kind)));
    if !description.unit.is_empty() {
        insert("unit", json!(description.unit));
    }
    if let Some(step) = resolution(quantity) {
        insert("decimals", json!(description.decimals));
        insert("resolution", json!(step));
    }
    let labelled = |labels: Labels, number: &str| -> Value {
        let entries = labels
            .0
            .iter()
            .map(|(code, label)| json!({ number: code, "label": label }));
        entries.collect()
    };
    match description.kind {
        Kind::Mode(labels) => {
            insert("codes", labelled(labels, "code"));
        }
        Kind::Flags(labels) => {
            insert("flags", labelled(labels, "bit"));
        }
        Kind::Measurement | Kind::Counter | Kind::Bits | Kind::Clock => {}
    }
    if let Some(derivation) = description.derivation {
        let (rule, of) = match derivation {
            Derivation::Product(one, other) => ("product", vec![one, other]),
            Derivation::Sum(one, other) => ("sum", vec![one, other]),
            Derivation::Positive(of) => ("positive", vec![of]),
            Derivation::Negative(of) => ("negative", vec![of]),
            Derivation::Bits(of) => ("bits", vec![of]),
        };
        let of: Vec<&str> = of.into_iter().map(Quantity::name).collect();
        insert("follows_from", json!({ "rule": rule, "of": of }));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests;
