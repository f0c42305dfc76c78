//! The page fed by a running collector, through its HTTP API. One that goes away is asked for again, and the page says so.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_client::{Client, ClientError, Events, ServerEvent};
use kstar_engine::overview::{InverterOverview, SinkOverview};
use kstar_model::counted::Consumption;
use kstar_model::json;
use kstar_model::time::UnixMillis;
use serde_json::{Map, Value};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::curve::{Piece, Sample};
use super::page::Page;
use super::screen::Shared;

/// How often counts are asked for that no event tells of.
const LOOK: Duration = Duration::from_secs(5);

/// How long it takes until a collector that is gone is asked for again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The last day of all inverters, as far as the chart needs it.
const PAST: &str = "/api/v1/readings?resolution=5min&fields=pv_power,load_power,backup_power,grid_power,battery_power,battery_soc";

/// A collector that has answered.
pub struct Remote {
    client: Client,
    events: Events,
}

impl Remote {
    /// Asks a collector for everything at its present state, and to tell what happens from now on.
    pub async fn connect(client: &Client, shared: &Shared) -> Result<Self, ClientError> {
        // From here on nothing is missed, whatever is asked for meanwhile.
        let events = client.events("/api/v1/stream").await?;
        look(client, shared).await?;
        let latest: Vec<Map<String, Value>> = client.fetch("/api/v1/readings/latest").await?;
        shared.change(|page| {
            for reading in latest.iter().filter_map(json::read) {
                page.know(Arc::new(reading));
            }
        });
        past(client, shared).await?;
        Ok(Self {
            client: client.clone(),
            events,
        })
    }

    /// Tells the page what happens, until the collector is gone.
    async fn tell(&mut self, shared: &Shared) -> ClientError {
        let mut looking = interval(LOOK);
        looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.next() => match event {
                    Ok(Some(event)) => shared.change(|page| take(page, &event)),
                    Ok(None) => return ClientError::Unreachable {
                        url: self.client.url().clone(),
                        reason: "it has ended".to_owned(),
                    },
                    Err(error) => return error,
                },
                _ = looking.tick() => {
                    if let Err(error) = look(&self.client, shared).await {
                        return error;
                    }
                }
            }
        }
    }
}

/// Feeds the page indefinitely, from a collector that has answered once.
pub async fn feed(shared: Arc<Shared>, mut remote: Remote) {
    let client = remote.client.clone();
    loop {
        let mut error = remote.tell(&shared).await;
        let mut pause = FIRST_PAUSE;
        remote = loop {
            shared.change(|page| page.trouble = Some(format!("trying again: {error}")));
            sleep(pause).await;
            match Remote::connect(&client, &shared).await {
                Ok(again) => break again,
                Err(again) => error = again,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        shared.change(|page| page.trouble = None);
    }
}

/// Takes an event of the stream. What is none of those that are known is left out.
fn take(page: &mut Page, event: &ServerEvent) {
    let now = Instant::now();
    match event.name.as_str() {
        "reading" => {
            let object = serde_json::from_str(&event.data).ok();
            if let Some(reading) = object.and_then(|object| json::read(&object)) {
                page.read(Arc::new(reading), now);
            }
        }
        "status" => {
            if let Ok(overview) = serde_json::from_str(&event.data) {
                page.set_inverter(overview, now);
            }
        }
        _ => {}
    }
}

/// Asks how every inverter and sink is.
async fn look(client: &Client, shared: &Shared) -> Result<(), ClientError> {
    let inverters: Vec<InverterOverview> = client.fetch("/api/v1/inverters").await?;
    let sinks: Vec<SinkOverview> = client.fetch("/api/v1/sinks").await?;
    shared.change(|page| {
        page.set_inverters(inverters, Instant::now());
        page.sinks = sinks;
    });
    Ok(())
}

/// Asks for the last hours, which a collector without a history does not have.
async fn past(client: &Client, shared: &Shared) -> Result<(), ClientError> {
    let rows: Vec<Map<String, Value>> = match client.fetch(PAST).await {
        Ok(rows) => rows,
        Err(ClientError::Refused { status, reason, .. }) => {
            tracing::debug!(status, reason, "the collector shows no history");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    shared.change(|page| {
        for watched in &mut page.inverters {
            let name = watched.overview.name.as_str();
            let of_inverter = rows
                .iter()
                .filter(|row| row.get("inverter").and_then(Value::as_str) == Some(name));
            let mut house = Consumption::default();
            let pieces = of_inverter.filter_map(|row| piece(row, &mut house));
            watched.curve.fill(pieces.collect());
        }
    });
    Ok(())
}

/// Five minutes as the API writes them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a chart in a terminal shows two digits of them"
)]
fn piece(row: &Map<String, Value>, house: &mut Consumption) -> Option<Piece> {
    let moment = |key: &str| -> Option<UnixMillis> {
        let moment: jiff::Timestamp = row.get(key)?.as_str()?.parse().ok()?;
        Some(UnixMillis(moment.as_millisecond()))
    };
    let mean = |name: &str| Some(row.get(name)?.get("mean")?.as_f64()? as f32);
    let span: Range<UnixMillis> = moment("begin")?..moment("end")?;
    let means: Sample = [
        mean("pv_power"),
        house.of(mean("load_power"), mean("backup_power")),
        mean("grid_power"),
        mean("battery_power"),
        mean("battery_soc"),
    ];
    Some(Piece::of_means(&span, means))
}
