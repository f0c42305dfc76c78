//! `kstar meter`: the energy counters as they are kept, and how to take over those of another system.

use std::io::{self, IsTerminal, Write};

use clap::{Args, Subcommand};
use kstar_common::collect::inserted;
use kstar_engine::pipeline::ledger::Machine;
use kstar_engine::pipeline::ledger::file::LedgerFile;
use kstar_engine::pipeline::ledger::lock::StateLock;
use kstar_engine::pipeline::meter::counters::{Flow, Origins, Source};
use kstar_engine::pipeline::meter::energy::Energy;
use kstar_model::catalogue::Quantity;
use kstar_model::units::Decimal;
use serde_json::{Map, Value, json};

use super::shared::args::{ConfigArgs, unknown_inverter};
use super::shared::columns::write_columns;
use super::shared::failure::Failure;
use crate::config::Config;

/// What `kstar meter` can be told.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct MeterArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Let a counter go on from another reading, as when an old system is replaced. Stop the collector first
    Set(SetArgs),
}

#[derive(Args, Clone, Debug)]
struct SetArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The inverter's name in the configuration
    inverter: String,
    /// The counter, like `pv_energy_total`
    quantity: String,
    /// Its reading in kWh
    #[arg(value_name = "KWH")]
    reading: f64,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Shows or sets the counters.
pub fn run(args: &MeterArgs, out: &mut impl Write) -> Result<(), Failure> {
    match &args.action {
        None => show(args, out),
        Some(Action::Set(set)) => self::set(set, out),
    }
}

fn open(config: &Config) -> Result<LedgerFile, Failure> {
    LedgerFile::open(&config.state_dir()).map_err(|error| Failure::Runtime(error.to_string()))
}

fn show(args: &MeterArgs, out: &mut impl Write) -> Result<(), Failure> {
    let config = args.config.config()?;
    let ledger = open(&config)?;
    if args.json {
        let accounts = ledger.accounts().iter();
        let inverters: Map<String, Value> = inserted(accounts.map(|(name, account)| {
            let former: Vec<Map<String, Value>> = account.former.iter().map(as_json).collect();
            let mut shown = as_json(&account.current);
            shown.insert("former".to_owned(), former.into());
            (name.clone(), shown.into())
        }));
        serde_json::to_writer_pretty(&mut *out, &json!({ "inverters": inverters }))?;
        writeln!(out)?;
    } else if ledger.accounts().is_empty() {
        let folder = config.state_dir();
        writeln!(out, "nothing is counted in {} yet", folder.display())?;
    } else {
        for (name, account) in ledger.accounts() {
            show_machine(name, &account.current, out)?;
            for former in &account.former {
                show_machine(&format!("formerly {name}"), former, out)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn show_machine(name: &str, machine: &Machine, out: &mut impl Write) -> Result<(), Failure> {
    let counters = &machine.meter;
    let serial = machine.serial.as_deref().unwrap_or("unknown");
    writeln!(out, "{name}, serial number {serial}")?;
    let day = counters
        .day
        .as_ref()
        .map_or_else(|| "today".to_owned(), |day| day.date.to_string());
    let mut rows = vec![["", "total kWh", &day].map(str::to_owned)];
    for flow in Flow::ALL.into_iter().filter(|flow| counters.knows(*flow)) {
        rows.push([
            format!("  {}", flow.total()),
            kilowatt_hours(counters.totals.of(flow).published()),
            kilowatt_hours(counters.today(flow)),
        ]);
        if let Some(Origins { metered, bridged }) = counters.origins(flow) {
            for (origin, raw) in [("metered", metered), ("by the inverter's counter", bridged)] {
                rows.push([format!("    {origin}"), kilowatt_hours(raw), String::new()]);
            }
        }
    }
    for source in Source::ALL {
        let unmetered = counters.coverage.of(source).unmetered_ms / 1000;
        if unmetered > 0 {
            rows.push([
                format!("  {} unknown for", source.name()),
                format!(
                    "{}:{:02}:{:02} h",
                    unmetered / 3600,
                    unmetered / 60 % 60,
                    unmetered % 60
                ),
                String::new(),
            ]);
        }
    }
    write_columns(out, &rows)?;
    Ok(())
}

/// With all three decimals, so that columns align.
fn kilowatt_hours(thousandths: i64) -> String {
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

fn as_json(machine: &Machine) -> Map<String, Value> {
    let counters = &machine.meter;
    let [mut shown, mut metered, mut bridged] = [Map::new(), Map::new(), Map::new()];
    let show = |map: &mut Map<_, _>, quantity: Quantity, raw| {
        let decimals = quantity.description().decimals;
        map.insert(quantity.name().to_owned(), json!(Decimal { raw, decimals }));
    };
    for flow in Flow::ALL.into_iter().filter(|flow| counters.knows(*flow)) {
        let total = counters.totals.of(flow).published();
        show(&mut shown, flow.total(), total);
        show(&mut shown, flow.today(), counters.today(flow));
        if let Some(origins) = counters.origins(flow) {
            show(&mut metered, flow.total(), origins.metered);
            show(&mut bridged, flow.total(), origins.bridged);
        }
    }
    let unmetered: Map<String, Value> = inserted(Source::ALL.into_iter().map(|source| {
        let millis = counters.coverage.of(source).unmetered_ms;
        (source.name().to_owned(), (millis / 1000).into())
    }));
    let day = counters.day.as_ref().map(|day| day.date.to_string());
    // An inverter without counters of its own has nothing to tell apart.
    let origins = [("metered", metered), ("bridged", bridged)].into_iter();
    let origins = origins.filter(|(_, of)| !of.is_empty());
    let shown = [
        ("serial", machine.serial.clone().into()),
        ("day", day.into()),
        ("counters", shown.into()),
        ("unmetered_seconds", unmetered.into()),
    ]
    .into_iter()
    .chain(origins.map(|(key, of)| (key, of.into())));
    inserted(shown.map(|(key, value)| (key.to_owned(), value)))
}

fn set(args: &SetArgs, out: &mut impl Write) -> Result<(), Failure> {
    let flow = Flow::ALL
        .into_iter()
        .find(|flow| flow.total().name() == args.quantity)
        .ok_or_else(|| {
            let names = Flow::ALL.map(|flow| flow.total().name()).join(", ");
            Failure::Usage(format!(
                "`{}` is no counter that can be set; there are: {names}",
                args.quantity
            ))
        })?;
    let thousandths = thousandths(args.reading)?;
    let config = args.config.config()?;
    let folder = config.state_dir();
    let _lock = StateLock::take(&folder).map_err(|held| Failure::Runtime(held.to_string()))?;
    let mut ledger = open(&config)?;
    let configured = config.inverters();
    let mut names: Vec<&str> = configured
        .iter()
        .map(|inverter| inverter.name.as_str())
        .chain(ledger.accounts().keys().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    if !names.contains(&args.inverter.as_str()) {
        return Err(unknown_inverter(&args.inverter, &names));
    }
    let account = ledger.account_mut(&args.inverter);
    let counters = &mut account.current.meter;
    let before = counters.totals.of(flow).published();
    let shown = |raw| flow.total().value(raw).to_string();
    if let Some(consequence) = at_home_assistant(before, thousandths, shown) {
        // Where standard error is closed, nobody reads it.
        let _ = writeln!(
            io::stderr(),
            "{} of {} goes from {} to {} kWh.\n{consequence}",
            args.quantity,
            args.inverter,
            shown(before),
            args.reading
        );
        if !args.yes && !is_confirmed()? {
            return Err(Failure::Runtime("nothing was changed".to_owned()));
        }
    }
    counters.set(flow, thousandths);
    ledger.write();
    ledger.sync();
    if let Some(trouble) = ledger.trouble() {
        return Err(Failure::Runtime(format!(
            "cannot write the counters to {}: {trouble}",
            folder.display()
        )));
    }
    let quantity: Quantity = flow.total();
    writeln!(
        out,
        "{} of {}: {} kWh, before {} kWh",
        quantity,
        args.inverter,
        args.reading,
        quantity.value(before)
    )?;
    out.flush()?;
    Ok(())
}

/// What Home Assistant makes of a counter that is set, and what to do there; nothing where it stays as it is.
///
/// For the state class `total_increasing` it adds up the rises of the state. A fall to less than nine tenths is a new
/// meter that has begun at 0, a smaller one is subtracted.
fn at_home_assistant(before: i64, after: u64, shown: impl Fn(i64) -> String) -> Option<String> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let taken = match after.checked_sub(before)? {
        0 => return None,
        rise @ 1.. => format!("the rise for {} kWh of energy", shown(rise)),
        _ if after.saturating_mul(10) < before.saturating_mul(9) => {
            format!(
                "the fall for a new meter that began at 0, which has counted {} kWh",
                shown(after)
            )
        }
        fall => format!("the fall for {} kWh of energy", shown(fall)),
    };
    Some(format!(
        "The collector's own reports do not count that. Where Home Assistant has this counter, it takes {taken}, in the hour in \
         which it sees that. Correct that there: Developer tools, Statistics, the icon \"Adjust sum\" beside the sensor, in that hour."
    ))
}

/// Asks the user at the terminal.
fn is_confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "standard input is no terminal, so nobody can be asked; nothing was changed; use --yes"
                .to_owned(),
        ));
    }
    let mut err = io::stderr();
    let _ = write!(err, "Set it? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| {
        Failure::Runtime(format!(
            "cannot read standard input: {error}; nothing was changed"
        ))
    })?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

/// A reading in kWh as whole thousandths.
fn thousandths(reading: f64) -> Result<u64, Failure> {
    let scaled = (reading * 1000.0).round();
    let most = Energy::MOST.published();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and takes what is no number for 0"
    )]
    let whole = scaled as i64;
    u64::try_from(whole)
        .ok()
        .filter(|_| reading.is_finite() && whole <= most)
        .ok_or_else(|| {
            Failure::Usage(format!(
                "{reading} is no counter's reading; write kWh from 0 to {}",
                most / 1000
            ))
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kstar_engine::pipeline::meter::counters::Counters;
    use kstar_engine::pipeline::meter::{Meter, MeterSettings};
    use kstar_model::TimeZone;
    use kstar_model::catalogue::Values;
    use kstar_model::time::UnixMillis;
    use kstar_model::units::{KilowattHours, Watts};
    use kstar_source::source::Profile;

    use super::*;

    /// Half an hour at 2 kW in two readings, between which the meter saw nothing.
    fn machine(counts_pv: bool) -> Machine {
        let settings = MeterSettings {
            zone: TimeZone::UTC,
            max_gap: Duration::from_secs(60),
        };
        let mut meter = Meter::new(settings, Counters::default()).bridging(Profile::of(4000));
        for (seconds, tenths) in [(0_u32, 500), (30, 500), (1830, 510), (1860, 510)] {
            let values = Values {
                pv_power: Some(Watts::new(200_000)),
                grid_power: Some(Watts::new(0)),
                inverter_pv_energy_total: counts_pv.then(|| KilowattHours::new(tenths)),
                ..Values::default()
            };
            let time = UnixMillis(1_793_836_800_000 + i64::from(seconds) * 1000);
            let at = Duration::from_secs(seconds.into());
            meter.count(at, Some(time), &values);
        }
        Machine {
            meter: meter.counters().clone(),
            ..Machine::default()
        }
    }

    fn shown(machine: &Machine) -> String {
        let mut out = Vec::new();
        show_machine("roof", machine, &mut out).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn where_a_total_comes_from_is_shown_where_the_inverter_counts_it_too() {
        let machine = machine(true);
        let rows: Vec<String> = shown(&machine)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            rows[2..5],
            [
                "pv_energy_total 1.016 1.016",
                "metered 0.033",
                "by the inverter's counter 0.983"
            ]
        );
        let json = as_json(&machine);
        assert_eq!(json["metered"], json!({ "pv_energy_total": 0.033 }));
        assert_eq!(json["bridged"], json!({ "pv_energy_total": 0.983 }));
        assert_eq!(json["unmetered_seconds"]["pv_power"], 0);
        assert_eq!(json["unmetered_seconds"]["grid_power"], 1800);
    }

    #[test]
    fn an_inverter_without_counters_has_nothing_to_tell_apart() {
        let machine = machine(false);
        assert!(!shown(&machine).contains("counter"));
        let json = as_json(&machine);
        assert!(!json.contains_key("metered") && !json.contains_key("bridged"));
        assert_eq!(json["unmetered_seconds"]["pv_power"], 1800);
    }
}
