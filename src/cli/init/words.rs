//! What a person types, as the configuration takes it.

use kstar_common::zone;

use super::file::{Influxdb, Mqtt, Shape, Target, Tariff};
use crate::config::{Config, ConfigFile, Host, InverterName};

pub(super) fn host(text: &str) -> Result<String, String> {
    text.parse::<Host>().map(|_| text.to_owned())
}

pub(super) fn name(text: &str) -> Result<String, String> {
    InverterName::try_from(text.to_owned()).map(|_| text.to_owned())
}

pub(super) fn mqtt_url(text: &str) -> Result<String, String> {
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("mqtt://{text}")
    };
    let section = Mqtt {
        url: url.clone(),
        username: None,
        password: None,
    };
    fits(&url, &section.text(Shape::File))
}

pub(super) fn influxdb_url(text: &str) -> Result<String, String> {
    let section = Influxdb {
        url: text.to_owned(),
        target: Target::Database {
            name: "solar".to_owned(),
            username: None,
            password: None,
        },
    };
    fits(text, &section.text(Shape::File))
}

/// The URL, if the sink's own section takes it.
fn fits(url: &str, section: &str) -> Result<String, String> {
    if url.contains('@') {
        return Err("user and password do not belong into the URL, where they show".to_owned());
    }
    match Config::parse(&ConfigFile::new("", section)) {
        Ok(_) => Ok(url.to_owned()),
        Err(error) => Err(error.message().to_owned()),
    }
}

pub(super) fn zone(text: &str) -> Result<String, String> {
    let error = || format!("there is no time zone `{text}`; write one like Europe/London");
    zone::named(text).map(|_| text.to_owned()).ok_or_else(error)
}

/// A price, also with a comma.
pub(super) fn price(text: &str) -> Result<String, String> {
    let number = text.replace(',', ".");
    let is_price = number.parse::<f64>().is_ok_and(f64::is_finite);
    let error = || format!("`{text}` is no price; write a number, like 0.32");
    // As TOML writes numbers.
    let text = number.parse::<f64>().map(|price| format!("{price:?}"));
    text.ok().filter(|_| is_price).ok_or_else(error)
}

pub(super) fn currency(text: &str) -> Result<String, String> {
    let tariff = Tariff {
        currency: text.to_owned(),
        price: "0.0".to_owned(),
        feed_in: "0.0".to_owned(),
    };
    match Config::parse(&ConfigFile::new("", &tariff.text())) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.message().to_owned()),
    }
}
