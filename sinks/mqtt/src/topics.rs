//! What is published where: the one place that knows the names of topics, what is retained, and how a value is
//! written. It sends nothing.
//!
//! What is counted is retained, so that a total is there after the broker or a subscriber has started again. What is
//! measured is not: a power of an hour ago would pass for one of now.

use kstar_common::key::KeyError;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::Reading;
use kstar_model::scalar::Kind;
use kstar_model::time::Moment;
use kstar_model::units::Decimal;
use kstar_sink::event::Reachability;
use rumqttc::QoS;
use serde::Deserialize;

use crate::message::Message;

/// In which form readings are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One topic for each quantity.
    Quantities,
    /// One JSON message.
    Json,
    /// Both of these.
    #[default]
    Both,
}

impl Form {
    /// Whether each quantity has a topic of its own.
    pub fn has_quantities(self) -> bool {
        self != Self::Json
    }

    /// Whether there is a JSON message.
    pub fn has_json(self) -> bool {
        self != Self::Quantities
    }
}

/// The names of our topics, and what must be known of them to subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// The first part of the sink's own topics: `kstar`.
    pub prefix: String,
    /// The collector's name at the broker.
    pub client_id: String,
    /// Whether each quantity has a topic of its own; else states are taken from the JSON message.
    pub per_quantity: bool,
    /// The quality of service that Home Assistant subscribes with.
    pub qos: u8,
}

/// What a status topic says of somebody who is there, and of one who is not.
pub(crate) const ONLINE: &str = "online";
/// See [`ONLINE`].
pub(crate) const OFFLINE: &str = "offline";

impl Topics {
    /// Where the collector says whether it is there; also its will.
    pub fn collector_status(&self) -> String {
        format!("{}/collector/{}/status", self.prefix, self.client_id)
    }

    /// Where the collector says whether the inverter answers.
    pub fn inverter_status(&self, inverter: &str) -> String {
        format!("{}/{inverter}/status", self.prefix)
    }

    /// Where the collector tells how its sinks are.
    pub fn sinks(&self) -> String {
        format!("{}/collector/{}/sinks", self.prefix, self.client_id)
    }

    /// Where the collector tells what a kWh from the grid costs now.
    pub fn price(&self) -> String {
        format!("{}/collector/{}/price", self.prefix, self.client_id)
    }

    /// Where the collector tells what a kWh that is fed in brings now.
    pub fn feed_in_price(&self) -> String {
        format!("{}/collector/{}/feed_in_price", self.prefix, self.client_id)
    }

    /// Where Home Assistant is told when an inverter's newest reading came.
    pub fn last_reading(&self, inverter: &str) -> String {
        format!("{}/{inverter}/last_reading", self.prefix)
    }

    /// Where readings go as JSON.
    pub fn state(&self, inverter: &str) -> String {
        format!("{}/{inverter}/state", self.prefix)
    }

    /// Where the values of one quantity go.
    pub fn quantity(&self, inverter: &str, quantity: &str) -> String {
        // Sixty times for each reading, so without the formatter.
        [&self.prefix, "/", inverter, "/", quantity].concat()
    }

    /// Whether the collector is there.
    pub(crate) fn collector(&self, status: &str) -> Message {
        Message::retained(self.collector_status(), status.to_owned())
    }

    /// Whether an inverter answers.
    pub(crate) fn inverter(&self, inverter: &str, reachability: Reachability) -> Message {
        let status = match reachability {
            Reachability::Online => ONLINE,
            Reachability::Silent => OFFLINE,
        };
        Message::retained(self.inverter_status(inverter), status.to_owned())
    }

    /// A reading, in the form that was chosen; without the values that their topics hold already.
    pub(crate) fn reading(
        &self,
        form: Form,
        reading: &Reading<impl Moment>,
        held: Option<&Values>,
    ) -> Result<Vec<Message>, serde_json::Error> {
        let inverter = &reading.inverter.name;
        let mut messages = Vec::with_capacity(Quantity::ALL.len() + 1);
        if form.has_json() {
            let line = serde_json::to_string(reading)?;
            messages.push(Message::live(self.state(inverter), line));
        }
        if form.has_quantities() {
            let is_new = |quantity: Quantity| {
                held.is_none_or(|held| held.raw(quantity) != reading.values.raw(quantity))
            };
            let values = reading.values.present();
            let values = values.filter(|(quantity, _)| is_new(*quantity));
            let values = values.map(|(quantity, value)| Message {
                topic: self.quantity(inverter, quantity.name()),
                payload: value.to_string(),
                retain: quantity.description().kind == Kind::Counter,
            });
            messages.extend(values);
        }
        Ok(messages)
    }
}

/// The quality of service of the topics of kstar.sharp, whatever is chosen for ours.
pub(crate) const KSTAR_SHARP_QOS: QoS = QoS::AtLeastOnce;

/// A reading in the seven topics of kstar.sharp, which have no name for the inverter.
pub(crate) fn kstar_sharp<Time>(prefix: &str, reading: &Reading<Time>) -> Vec<Message> {
    let values = &reading.values;
    let number = |quantity: Quantity| {
        let raw = values.raw(quantity)?;
        Some(quantity.value(raw).to_string())
    };
    let whole_celsius = || {
        let description = Quantity::inverter_temperature.description();
        let raw = values.raw(Quantity::inverter_temperature)?;
        Some(half_to_even(raw, description.decimals).to_string())
    };
    [
        ("pvpower", number(Quantity::pv_power)),
        ("grid", number(Quantity::grid_power)),
        ("grid/import", number(Quantity::grid_import_power)),
        ("grid/export", number(Quantity::grid_export_power)),
        ("load", number(Quantity::load_power)),
        ("temp", whole_celsius()),
        ("etoday", number(Quantity::energy_today)),
    ]
    .into_iter()
    .filter_map(|(topic, value)| Some(Message::live(format!("{prefix}/{topic}"), value?)))
    .collect()
}

/// The number without its decimals; a half goes to the even neighbour, as .NET's `Math.Round` has it.
fn half_to_even(raw: i64, decimals: u8) -> Decimal {
    let unit = 10_i64.pow(decimals.into());
    let (whole, rest) = (raw.div_euclid(unit), raw.rem_euclid(unit) * 2);
    let up = rest > unit || (rest == unit && whole % 2 != 0);
    Decimal {
        raw: whole + i64::from(up),
        decimals: 0,
    }
}

/// What a text must be to stand at the beginning of our topics; the error says what is wrong with it.
pub(crate) fn check_prefix(key: &str, prefix: &str) -> Result<(), KeyError> {
    let problem = if prefix.is_empty() {
        "is empty"
    } else if prefix.contains(['+', '#']) {
        "has a `+` or `#`, which stand for other topics"
    } else if prefix.chars().any(char::is_control) {
        "has a control character"
    } else if prefix.starts_with('$') {
        "begins with `$`, where only the broker writes"
    } else if prefix.split('/').any(str::is_empty) {
        "begins or ends with a `/`, or has two in a row"
    } else if prefix.len() > 200 {
        "is longer than 200 bytes"
    } else {
        return Ok(());
    };
    let message =
        format!("`{key} = {prefix:?}` {problem}; write something like \"kstar\" or \"home/solar\"");
    Err(KeyError::new(key, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstar_model::units::{Celsius, KilowattHours, Watts};
    use kstar_sink::testing::{full_reading, reading, record, record_of_line};

    fn topics() -> Topics {
        Topics {
            prefix: "kstar".to_owned(),
            client_id: "kstar-pi".to_owned(),
            per_quantity: true,
            qos: 1,
        }
    }

    #[test]
    fn a_half_goes_to_the_even_neighbour() {
        let rounded =
            [265, 275, 264, 266, -5, -15, -25, -14, 0].map(|raw| half_to_even(raw, 1).to_string());
        assert_eq!(
            rounded,
            ["26", "28", "26", "27", "0", "-2", "-2", "-1", "0"]
        );
    }

    #[test]
    fn each_quantity_that_is_present_has_its_topic_and_only_counters_are_retained() {
        let reading = full_reading("roof", 1);
        let messages = topics().reading(Form::Quantities, &reading, None).unwrap();
        let expected = record(&reading);
        assert_eq!(messages.len(), Quantity::ALL.len());
        for message in messages {
            let name = message.topic.strip_prefix("kstar/roof/").unwrap();
            let quantity = Quantity::from_name(name).unwrap();
            assert_eq!(Some(&message.payload), expected.get(name));
            assert_eq!(
                message.retain,
                matches!(quantity.description().unit, "kWh" | "h"),
                "{name}"
            );
        }
    }

    #[test]
    fn the_json_line_comes_first_and_is_not_retained() {
        let reading = full_reading("roof", 1);
        let messages = topics().reading(Form::Both, &reading, None).unwrap();
        assert_eq!(messages.len(), Quantity::ALL.len() + 1);
        assert_eq!(messages[0].topic, "kstar/roof/state");
        assert!(!messages[0].retain);
        assert_eq!(record_of_line(&messages[0].payload), record(&reading));
    }

    #[test]
    fn what_a_topic_holds_is_left_out() {
        let held = full_reading("roof", 1);
        let mut reading = (*held).clone();
        reading.values.pv_power = Some(Watts::new(171_054));
        reading.values.energy_today = None;
        let told = |held: &Values| {
            let messages = topics().reading(Form::Both, &reading, Some(held));
            let messages = messages.unwrap().into_iter();
            messages.map(|message| message.topic).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&held.values),
            ["kstar/roof/state", "kstar/roof/pv_power"]
        );
        assert_eq!(told(&reading.values), ["kstar/roof/state"]);
        let all = told(&kstar_sink::testing::reading("roof", 1).values);
        assert_eq!(all.len(), Quantity::ALL.len());
    }

    #[test]
    fn what_is_absent_is_not_published() {
        let empty = reading("roof", 1);
        let messages = topics().reading(Form::Quantities, &empty, None);
        assert_eq!(messages.unwrap(), []);
        assert_eq!(kstar_sharp("sensor/inverter", &empty), []);
    }

    #[test]
    fn the_topics_of_kstar_sharp_are_exactly_its_own() {
        let mut reading = (*reading("inverter", 1)).clone();
        reading.values.pv_power = Some(Watts::new(171_054));
        reading.values.grid_power = Some(Watts::new(-120));
        reading.values.grid_import_power = Some(Watts::new(0));
        reading.values.grid_export_power = Some(Watts::new(120));
        reading.values.load_power = Some(Watts::new(1500));
        reading.values.inverter_temperature = Some(Celsius::new(265));
        reading.values.energy_today = Some(KilowattHours::new(70));
        let shown: Vec<(String, String, bool)> = kstar_sharp("sensor/inverter", &reading)
            .into_iter()
            .map(|message| (message.topic, message.payload, message.retain))
            .collect();
        let expected = [
            ("sensor/inverter/pvpower", "1710.54"),
            ("sensor/inverter/grid", "-120"),
            ("sensor/inverter/grid/import", "0"),
            ("sensor/inverter/grid/export", "120"),
            ("sensor/inverter/load", "1500"),
            ("sensor/inverter/temp", "26"),
            ("sensor/inverter/etoday", "7"),
        ]
        .map(|(topic, payload)| (topic.to_owned(), payload.to_owned(), false));
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_prefix_that_no_broker_would_take_is_refused() {
        for prefix in ["kstar", "home/solar", "Süd"] {
            assert_eq!(check_prefix("prefix", prefix), Ok(()));
        }
        for prefix in ["", "/a", "a/", "a//b", "a/+", "#", "$SYS/a", "a\n"] {
            assert!(check_prefix("prefix", prefix).is_err(), "{prefix}");
        }
    }
}
