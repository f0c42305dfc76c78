//! The source for inverters that speak Modbus: KSTAR hybrids behind Solarman sticks, GoodWe's ET and DT families.
//!
//! Three things vary independently and know nothing of each other:
//!
//! - the link: datagrams or a stream, in the contract of sources;
//! - [`framing`]: what is put around a request on its way;
//! - [`families`]: which registers there are and what they mean, each like a data sheet.
//!
//! [`frame`] is Modbus itself, as far as it reads; [`registers`] how values stand in registers; [`probe`] looks at an
//! inverter for a person, [`explain`](mod@explain) shows what the bytes of a frame mean. Only functions 03 and 04 exist here, and only the registers of a family's list can be asked for.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::Arc;

use kstar_common::finding::Finding;
use kstar_model::catalogue::Values;
use kstar_source::async_trait;
use kstar_source::counts::Counts;
use kstar_source::explain::{RecordedBlock, RecordedReply};
use kstar_source::recording::Anatomy;
use kstar_source::source::{Context, Profile, Source, SourceConfig};
use kstar_source::way::{Key, KeyValue, Pace, Way};
use serde::{Deserialize, Deserializer, de};

use families::Family;
use families::goodwe_dt::GOODWE_DT;
use families::goodwe_et::GOODWE_ET;
use families::kstar_hybrid::KSTAR_HYBRID;
use inverter::Inverter;
use via::Via;

mod anatomy;
pub mod explain;
pub mod families;
pub mod frame;
pub mod framing;
mod inverter;
pub mod probe;
pub mod reasons;
mod recorded;
pub mod registers;
pub mod via;

/// A family as a type, so that the configuration of each is one of its own.
pub trait Kind: Clone + fmt::Debug + Default + PartialEq + Send + Sync + 'static {
    /// What there is to know about it.
    const FAMILY: &'static Family;
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident, $config:ident: $family:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $kind;

        impl Kind for $kind {
            const FAMILY: &'static Family = &$family;
        }

        $(#[doc = $doc])+
        pub type $config = ModbusConfig<$kind>;
    )+};
}

kinds! {
    /// KSTAR hybrids.
    KstarHybrid, KstarHybridConfig: KSTAR_HYBRID;
    /// GoodWe hybrids of the ET family.
    GoodweEt, GoodweEtConfig: GOODWE_ET;
    /// GoodWe string inverters of the DT family.
    GoodweDt, GoodweDtConfig: GOODWE_DT;
}

/// What the section `[[inverter]]` says of an inverter that speaks Modbus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusConfig<K> {
    /// The way to it.
    pub via: Via,
    /// Its unit address.
    pub unit: u8,
    /// The serial number of the Solarman stick; learnt if absent.
    pub logger_serial: Option<u32>,
    kind: PhantomData<K>,
}

impl<K: Kind> ModbusConfig<K> {
    /// By this way, else as the family usually is.
    pub fn new(via: Option<Via>) -> Self {
        let usual = K::FAMILY.ways.first().copied();
        Self {
            via: via.or(usual).unwrap_or(Via::ModbusTcp),
            unit: K::FAMILY.unit,
            logger_serial: None,
            kind: PhantomData,
        }
    }
}

impl<K: Kind> Default for ModbusConfig<K> {
    fn default() -> Self {
        Self::new(None)
    }
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    via: Option<Via>,
    unit: Option<u8>,
    logger_serial: Option<u32>,
}

impl<'de, K: Kind> Deserialize<'de> for ModbusConfig<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = Keys::deserialize(deserializer)?;
        let family = K::FAMILY;
        let mut config = Self::new(keys.via);
        if !family.ways.contains(&config.via) {
            let ways: Vec<String> = family.ways.iter().map(|via| format!("`{via}`")).collect();
            return Err(de::Error::custom(format!(
                "`via = \"{}\"` is no way to a {}; use one of {}",
                config.via,
                family.name,
                ways.join(", ")
            )));
        }
        if keys.logger_serial.is_some() && config.via != Via::Solarman {
            return Err(de::Error::custom(format!(
                "`logger_serial` is the number of a Solarman stick, and there is none with `via = \"{}\"`; leave it out",
                config.via
            )));
        }
        config.logger_serial = keys.logger_serial;
        config.unit = keys.unit.unwrap_or(config.unit);
        if !(1..=247).contains(&config.unit) {
            return Err(de::Error::custom(format!(
                "{} is no unit address; they go from 1 to 247",
                config.unit
            )));
        }
        Ok(config)
    }
}

#[async_trait]
impl<K: Kind> SourceConfig for ModbusConfig<K> {
    const NAME: &'static str = "modbus";
    const PORT: u16 = 502;
    const REASONS: &'static [&'static str] = reasons::ALL;

    fn port(&self) -> u16 {
        self.via.port()
    }

    fn ways() -> Vec<Way<Self>> {
        let mut ways = Vec::new();
        for place in K::FAMILY.places {
            for unit in place.units {
                let mut config = Self::new(Some(place.via));
                config.unit = *unit;
                let port = place.port;
                ways.push(Way { config, port });
            }
        }
        ways
    }

    fn keys(&self) -> Vec<Key> {
        Settings::from(self).keys()
    }

    fn pace(&self) -> Pace {
        let mut pace = Pace::default();
        pace.patience.timeout = K::FAMILY.timeout;
        pace
    }

    fn blocks(&self) -> Vec<kstar_source::source::Block> {
        let blocks = K::FAMILY.blocks.iter();
        let requests = blocks.flat_map(|block| {
            let requests = block.requests(self.unit);
            requests.map(|request| kstar_source::source::Block {
                name: block.name,
                request: request.bytes().to_vec(),
                asked: block.asked,
            })
        });
        requests.collect()
    }

    fn anatomy(&self, request: &[u8], bytes: &[u8]) -> Anatomy {
        anatomy::of(K::FAMILY, request, bytes)
    }

    fn explain_recorded(&self, replies: &[RecordedReply]) -> Vec<RecordedBlock> {
        recorded::explain(K::FAMILY, replies)
    }

    fn decode(&self, replies: &[RecordedReply]) -> Option<Values> {
        recorded::decode(K::FAMILY, replies)
    }

    fn describe(&self) -> String {
        format!("{} via {}, unit {}", K::FAMILY.name, self.via, self.unit)
    }

    fn profile(&self) -> Profile {
        K::FAMILY.profile
    }

    fn open(&self, context: &Context, counts: Arc<Counts>) -> Box<dyn Source> {
        Box::new(Inverter::new(K::FAMILY, self.into(), context, counts))
    }

    async fn probe(&self, context: &Context, polls: NonZeroU32, force: bool) -> Vec<Finding> {
        probe::look(K::FAMILY, self.into(), context, polls, force).await
    }
}

/// How an inverter is asked, whatever its family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) via: Via,
    pub(crate) unit: u8,
    pub(crate) logger_serial: Option<u32>,
}

impl Settings {
    /// The keys of the configuration that lead here.
    fn keys(self) -> Vec<Key> {
        let key = |name, value| Key { name, value };
        let mut keys = vec![
            key("via", KeyValue::Word(self.via.name())),
            key("unit", KeyValue::Number(self.unit.into())),
        ];
        let serial = self.logger_serial.filter(|_| self.via == Via::Solarman);
        keys.extend(serial.map(|serial| key("logger_serial", KeyValue::Number(serial))));
        keys
    }
}

impl<K> From<&ModbusConfig<K>> for Settings {
    fn from(config: &ModbusConfig<K>) -> Self {
        Self {
            via: config.via,
            unit: config.unit,
            logger_serial: config.logger_serial,
        }
    }
}
