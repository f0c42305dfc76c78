//! What the page knows of inverters and sinks, wherever that comes from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_engine::overview::{InverterOverview, InverterState, SinkOverview};
use kstar_model::counted::Consumption;
use kstar_model::reading::{Shown, fresh_for};
use kstar_model::time::UnixMillis;
use kstar_model::time::millis;

use super::curve::Curve;

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Where it comes from, in a few words.
    pub origin: String,
    /// The inverters, by name.
    pub inverters: Vec<Watched>,
    /// The sinks, by name; none where the page polls by itself.
    pub sinks: Vec<SinkOverview>,
    /// Why nothing new comes at present.
    pub trouble: Option<String>,
    /// Since when energy is counted, if that was not midnight: a page that polls by itself counts from its start.
    pub counted_since: Option<UnixMillis>,
}

#[derive(Clone, Debug)]
pub struct Watched {
    /// How it was at the moment `at`.
    pub overview: InverterOverview,
    /// When the overview was made.
    pub at: Instant,
    /// Its newest reading.
    pub reading: Option<Arc<Shown>>,
    /// Its last hours.
    pub curve: Curve,
    /// What its house consumes, by what it has told so far.
    house: Consumption,
}

impl Watched {
    /// What people call it.
    pub fn title(&self) -> &str {
        self.overview
            .title
            .as_deref()
            .unwrap_or(&self.overview.name)
    }

    pub fn new(overview: InverterOverview, now: Instant) -> Self {
        let interval = Duration::from_millis(overview.poll_interval_ms);
        Self {
            curve: Curve::new(interval),
            overview,
            at: now,
            reading: None,
            house: Consumption::default(),
        }
    }

    /// What its house consumed at the newest reading, in W.
    pub fn consumption(&self) -> Option<f64> {
        self.house.watts(&self.reading.as_ref()?.values)
    }

    /// How long it has been as it is.
    pub fn state_age(&self, now: Instant) -> Duration {
        self.age(self.overview.state_age_ms, now)
    }

    /// How old its newest reading is.
    pub fn reading_age(&self, now: Instant) -> Option<Duration> {
        self.overview.reading_age_ms.map(|age| self.age(age, now))
    }

    /// Whether what it said last is no longer how things are.
    fn is_stale(&self, now: Instant) -> bool {
        let patience = fresh_for(Duration::from_millis(self.overview.poll_interval_ms));
        self.overview.state == InverterState::Silent
            || self.reading_age(now).is_some_and(|age| age > patience)
    }

    fn age(&self, millis_before: u64, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
            .saturating_add(Duration::from_millis(millis_before))
    }
}

impl Page {
    /// Whether what an inverter said last is no longer how things are, or nobody knows.
    pub fn is_stale(&self, watched: &Watched, now: Instant) -> bool {
        self.trouble.is_some() || watched.is_stale(now)
    }

    /// Takes a list of inverters as they are now, and keeps what is known of those that stay.
    pub fn set_inverters(&mut self, overviews: Vec<InverterOverview>, now: Instant) {
        let mut before = std::mem::take(&mut self.inverters);
        for overview in overviews {
            let known = before
                .iter()
                .position(|watched| watched.overview.name == overview.name);
            let watched = match known {
                Some(index) => {
                    let mut watched = before.swap_remove(index);
                    watched.overview = overview;
                    watched.at = now;
                    watched
                }
                None => Watched::new(overview, now),
            };
            self.inverters.push(watched);
        }
        self.inverters
            .sort_unstable_by(|one, other| one.overview.name.cmp(&other.overview.name));
    }

    /// Takes how one inverter is now.
    pub fn set_inverter(&mut self, overview: InverterOverview, now: Instant) {
        if let Some(watched) = self.inverter(&overview.name) {
            watched.overview = overview;
            watched.at = now;
        } else {
            let all = self.inverters.iter().map(|one| one.overview.clone());
            let all = all.chain([overview]).collect();
            self.set_inverters(all, now);
        }
    }

    /// Takes a reading that has come now.
    pub fn read(&mut self, reading: Arc<Shown>, now: Instant) {
        let name = reading.inverter.name.clone();
        if !self.know(reading) {
            return;
        }
        if let Some(watched) = self.inverter(&name) {
            watched.overview.state_age_ms = millis(watched.state_age(now)).unsigned_abs();
            watched.overview.reading_age_ms = Some(0);
            watched.at = now;
        }
    }

    /// Takes the newest reading, whose age is known already; says whether it is another one than before.
    pub fn know(&mut self, reading: Arc<Shown>) -> bool {
        let Some(watched) = self.inverter(&reading.inverter.name) else {
            return false;
        };
        // By its time, or by all that it says where it has none.
        let is_known = watched
            .reading
            .as_ref()
            .is_some_and(|known| match known.time {
                Some(_) => known.time == reading.time,
                None => *known == reading,
            });
        if is_known {
            return false;
        }
        watched.house.of_values(&reading.values);
        let reading = &**watched.reading.insert(reading);
        if let Some(time) = reading.time {
            let sample =
                super::curve::sample(&reading.values, watched.house.watts(&reading.values));
            watched.curve.push(time, sample);
        }
        true
    }

    pub fn inverter(&mut self, name: &str) -> Option<&mut Watched> {
        self.inverters
            .iter_mut()
            .find(|watched| watched.overview.name == name)
    }
}
