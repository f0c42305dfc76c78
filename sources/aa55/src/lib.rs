//! The source for KSTAR KSE and GoodWe ES, EM and BP inverters: AA55 over UDP.
//!
//! [`wire`] is the protocol, pure: bytes to values. [`request`](wire::request) lists every byte that is ever sent.
//! [`probe`] looks at an inverter for a person, [`explain`](mod@explain) shows what each
//! byte of a datagram means.
//!
//! The way to an inverter is a WiFi module with one serial line behind it, so one request is under way at a time and a
//! pause lies between two.

use std::num::NonZeroU32;
use std::sync::Arc;

use kstar_common::finding::Finding;
use kstar_model::catalogue::Values;
use kstar_source::async_trait;
use kstar_source::counts::Counts;
use kstar_source::explain::RecordedReply;
use kstar_source::recording::Anatomy;
use kstar_source::source::{Asked, Block, Context, Profile, Source, SourceConfig};
use kstar_source::way::{Key, KeyValue, Way};
use serde::{Deserialize, Deserializer, de};

use inverter::{Inverter, RUNNING_DATA};
pub use wire::DATA_PORT;
use wire::{ApAddress, Outgoing, Refusal, Request};

mod anatomy;
pub mod explain;
mod inverter;
pub mod probe;
pub mod wire;

/// The most power of an inverter, in watts, unless the configuration says otherwise: no known machine of this protocol
/// gives more.
const MAX_POWER: u32 = 6000;

/// What the section `[[inverter]]` says of an inverter that speaks AA55.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aa55Config {
    /// The address that requests give as their sender's.
    #[serde(deserialize_with = "ap_address")]
    pub ap_address: ApAddress,
}

fn ap_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ApAddress, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let known = u8::try_from(number).ok().and_then(ApAddress::from_byte);
    known.ok_or_else(|| {
        de::Error::custom(format!(
            "0x{number:02X} is no known address; use 0xB0 (KSTAR) or 0xC0 (GoodWe)"
        ))
    })
}

#[async_trait]
impl SourceConfig for Aa55Config {
    const NAME: &'static str = "aa55";
    const PORT: u16 = DATA_PORT;
    const REASONS: &'static [&'static str] = Refusal::NAMES;

    fn ways() -> Vec<Way<Self>> {
        let way = |ap_address| Way {
            config: Self { ap_address },
            port: DATA_PORT,
        };
        [ApAddress::B0, ApAddress::C0].map(way).into()
    }

    fn keys(&self) -> Vec<Key> {
        let value = KeyValue::Byte(self.ap_address.byte());
        vec![Key {
            name: "ap_address",
            value,
        }]
    }

    fn blocks(&self) -> Vec<Block> {
        let block = |name, request, asked| Block {
            name,
            request: Outgoing::Request(request, self.ap_address).bytes().to_vec(),
            asked,
        };
        vec![
            block(RUNNING_DATA, Request::RunningData, Asked::EachPoll),
            block("device_info", Request::DeviceInfo, Asked::ForIdentity),
            block("settings", Request::Settings, Asked::OnDemand),
        ]
    }

    fn anatomy(&self, request: &[u8], bytes: &[u8]) -> Anatomy {
        anatomy::of(request, bytes)
    }

    fn decode(&self, replies: &[RecordedReply]) -> Option<Values> {
        let mut replies = replies.iter();
        let reply = replies.find(|reply| reply.block == RUNNING_DATA)?;
        wire::running::decode(reply.reply.as_deref()?).ok()
    }

    fn describe(&self) -> String {
        format!("asked as 0x{:02X}", self.ap_address.byte())
    }

    fn profile(&self) -> Profile {
        Profile::of(MAX_POWER)
    }

    fn open(&self, context: &Context, counts: Arc<Counts>) -> Box<dyn Source> {
        Box::new(Inverter::new(self.ap_address, context, counts))
    }

    async fn probe(&self, context: &Context, polls: NonZeroU32, force: bool) -> Vec<Finding> {
        probe::look(self.ap_address, context, polls, force).await
    }
}
