//! Discovery against Home Assistant's rules and against a model of what Home Assistant does with its messages.

mod collector;
mod home;
mod lifecycle;
mod rules;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_sink::event::{CollectorStatus, Price, Rates};
use kstar_sink::health::State;
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

/// How a collector is that has these sinks.
fn collector(page: Option<&str>, sinks: &[&'static str]) -> CollectorStatus {
    CollectorStatus {
        version: "0.1.0",
        page: page.map(str::to_owned),
        sinks: sinks.iter().map(|name| (*name, State::Up)).collect(),
    }
}

fn price(currency: Option<&str>) -> Price {
    Price(currency.map(|currency| Rates {
        currency: currency.to_owned(),
        price: 0.32,
        feed_in: 0.08,
    }))
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
