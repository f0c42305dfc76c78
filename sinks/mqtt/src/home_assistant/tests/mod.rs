//! Discovery against Home Assistant's rules and against a model of what Home Assistant does with its messages.

mod home;
mod lifecycle;
mod rules;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_sink::sink::Context;

use super::{Discovery, Form, HomeAssistantSettings, Topics};

/// 2026-11-22T00:00:00Z.
const BEGIN: i64 = 1_795_305_600_000;

fn settings(form: Form) -> HomeAssistantSettings {
    HomeAssistantSettings {
        discovery: form,
        ..HomeAssistantSettings::default()
    }
}

fn topics(client_id: &str) -> Topics {
    Topics {
        prefix: "kstar".to_owned(),
        client_id: client_id.to_owned(),
        per_quantity: true,
        qos: 1,
    }
}

fn context(inverters: &[&str], state_dir: &Path) -> Context {
    Context {
        inverters: inverters.iter().map(|name| Arc::from(*name)).collect(),
        poll_interval: Duration::from_secs(5),
        state_dir: state_dir.to_owned(),
        zone: kstar_model::TimeZone::UTC,
        version: "0.1.0",
    }
}

fn start(form: Form, inverters: &[&str], state_dir: &Path) -> Discovery {
    Discovery::new(
        &settings(form),
        topics("one"),
        &context(inverters, state_dir),
    )
}

/// A reading of these quantities, so many milliseconds after the beginning.
fn reading(inverter: &str, after: i64, quantities: &[Quantity]) -> Reading {
    let mut values = Values::default();
    for quantity in quantities {
        values.set_raw(*quantity, Some(1));
    }
    Reading {
        time: UnixMillis(BEGIN + after),
        inverter: Inverter::named(inverter),
        values,
        counted: None,
    }
}
