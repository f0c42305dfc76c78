//! Rows of a history as others get them, in a file or over HTTP: at which resolution, of which quantities, and as JSON.

use kstar_history::{Aggregate, Bucket, Level};
use kstar_model::catalogue::Quantity;
use kstar_model::reading::{Reading, SCHEMA};
use kstar_model::scalar::Kind;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::energy::show::Plain;

/// What a row stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// Every reading
    #[default]
    Raw,
    /// Five minutes
    #[serde(rename = "5min")]
    FiveMinutes,
    /// Hours of the local clock
    Hour,
    /// Days by local midnight
    Day,
}

impl Resolution {
    /// All of them, the finest first.
    pub const ALL: [Self; 4] = [Self::Raw, Self::FiveMinutes, Self::Hour, Self::Day];

    /// What it is called where it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FiveMinutes => "5min",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// What a row is then, for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Raw => "Every reading",
            Self::FiveMinutes => "Five minutes",
            Self::Hour => "Hours of the local clock",
            Self::Day => "Days by local midnight",
        }
    }

    /// The level of the history that has such rows; none for readings themselves.
    pub fn level(self) -> Option<Level> {
        match self {
            Self::Raw => None,
            Self::FiveMinutes => Some(Level::FiveMinutes),
            Self::Hour => Some(Level::Hour),
            Self::Day => Some(Level::Day),
        }
    }

    /// The quantities that are asked for by their names, or all that rows have. Anyone who asks for `raw` does so with the
    /// words that `for_raw` says.
    pub fn quantities(self, names: &[&str], for_raw: &str) -> Result<Vec<Quantity>, String> {
        let fits = |quantity: Quantity| self == Self::Raw || has_aggregate(quantity);
        if names.is_empty() {
            let all = Quantity::ALL.iter().copied();
            return Ok(all.filter(|quantity| fits(*quantity)).collect());
        }
        let quantity = |name: &&str| {
            let quantity = Quantity::from_name(name.trim()).ok_or_else(|| {
                let all: Vec<&str> = Quantity::ALL.iter().map(|one| one.name()).collect();
                format!(
                    "no quantity is named `{name}`; there are: {}",
                    all.join(", ")
                )
            })?;
            if fits(quantity) {
                Ok(quantity)
            } else {
                Err(format!(
                    "`{quantity}` is no number, so it has no mean; leave it out, or use {for_raw}"
                ))
            }
        };
        names.iter().map(quantity).collect()
    }
}

/// Whether buckets have something of it.
fn has_aggregate(quantity: Quantity) -> bool {
    match quantity.description().kind {
        Kind::Measurement | Kind::Counter => true,
        Kind::Mode(_) | Kind::Flags(_) | Kind::Bits | Kind::Clock => false,
    }
}

/// Leaves of a reading only what was asked for.
pub fn narrow(reading: &mut Reading, quantities: &[Quantity]) {
    for quantity in Quantity::ALL {
        if !quantities.contains(quantity) {
            reading.values.set_raw(*quantity, None);
        }
    }
}

/// What readings come to, as one flat JSON object with an object for each quantity.
pub struct BucketAsJson<'a> {
    /// Whose readings.
    pub inverter: &'a str,
    /// What they come to.
    pub bucket: &'a Bucket,
    /// Of which quantities, in the order of the bucket's values.
    pub quantities: &'a [Quantity],
}

impl Serialize for BucketAsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Of {
            Measured { mean: Plain, min: Plain, max: Plain },
            Counted { grown: Plain },
        }
        let Bucket {
            begin,
            end,
            samples,
            covered,
            values,
        } = self.bucket;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("schema", &SCHEMA)?;
        line.serialize_entry("begin", &format_args!("{begin}"))?;
        line.serialize_entry("end", &format_args!("{end}"))?;
        line.serialize_entry("inverter", self.inverter)?;
        line.serialize_entry("samples", samples)?;
        line.serialize_entry("covered", &Plain(covered.as_secs_f64()))?;
        for (quantity, value) in self.quantities.iter().zip(values) {
            let of = match *value {
                Some(Aggregate::Measured { mean, min, max }) => Of::Measured {
                    mean: Plain(mean),
                    min: Plain(min),
                    max: Plain(max),
                },
                Some(Aggregate::Counted { grown }) => Of::Counted {
                    grown: Plain(grown),
                },
                None => continue,
            };
            line.serialize_entry(quantity.name(), &of)?;
        }
        line.end()
    }
}
