//! The house as one more inverter, `site`: what all that are polled come to together.
//!
//! It is made anew after each reading, of readings that are not older than two polls, and is missing while one of them
//! is. It goes to those who show how things are now and never to a store: there each inverter is on its own, and a sum over
//! all rows would count the house twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kstar_model::catalogue::{Quantity, Role, Values};
use kstar_model::counted;
use kstar_model::reading::{Inverter, Reading, Shown};
use kstar_model::scalar::Kind;
use kstar_model::time::UnixMillis;
use kstar_sink::event::{Event, InverterStatus, Reachability};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep, timeout};

use crate::board::{Board, InverterEntry, Present};
use crate::pipeline::stamp::WallClock;

/// What it is called. No inverter may have this name.
pub const NAME: &str = "site";

/// How often the sum is made where nothing comes: while all sleep, and to find that it is too old.
const PAUSE: Duration = Duration::from_secs(30);

/// How long readings gather after a sum: with many inverters one would else be made of all of them for each.
const GATHERING: Duration = Duration::from_millis(100);

/// A counter of what the house uses that falls by less does so by noise, in 0.001 kWh.
const NOISE: i64 = 1000;

/// How the sum is made, and who is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteSettings {
    /// Whether sinks and HTTP are told of it as of an inverter.
    pub enabled: bool,
    /// The inverter whose clamp counts, where several sit at one grid connection.
    pub grid_from: Option<Arc<str>>,
    /// The zone whose midnights part the days.
    pub zone: TimeZone,
}

/// The sum as the board shows it.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Whether others are told of it.
    enabled: bool,
    /// Whether it is there; nothing before that is known.
    reachability: Option<Reachability>,
    newest: Option<(Instant, Arc<Shown>)>,
    /// When the first of its readings is too old, unless all sleep.
    until: Option<Instant>,
}

impl Made {
    /// None yet.
    pub(crate) fn nothing(enabled: bool) -> Self {
        Self {
            enabled,
            ..Self::default()
        }
    }

    /// Puts another sum in its place; says whether it has come or gone since.
    pub(crate) fn put(
        &mut self,
        sum: Option<Arc<Shown>>,
        until: Option<Instant>,
        reachability: Option<Reachability>,
    ) -> bool {
        let is_news = reachability.is_some() && self.reachability != reachability;
        self.newest = sum.map(|sum| (Instant::now(), sum));
        self.until = until;
        self.reachability = reachability.or(self.reachability);
        is_news
    }

    /// The sum and when it was made, while nothing of it is too old.
    pub(crate) fn newest(&self) -> Option<(Instant, Arc<Shown>)> {
        let is_old = self.until.is_some_and(|until| Instant::now() > until);
        self.newest.clone().filter(|_| !is_old)
    }

    /// The same for those who are told of it.
    pub(crate) fn told(&self) -> Option<(Instant, Arc<Shown>)> {
        self.newest().filter(|_| self.enabled)
    }

    /// Whether it is there, for those who are told of it.
    pub(crate) fn status(&self) -> Option<Arc<InverterStatus>> {
        let reachability = self.reachability.filter(|_| self.enabled)?;
        Some(Arc::new(InverterStatus::new(
            Inverter::named(NAME),
            reachability,
        )))
    }
}

/// How a quantity of the house follows from those of its inverters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// All of them together.
    Sum,
    /// What crosses the grid connection: all together, or what the one clamp measures.
    Grid,
    /// What the house uses. Each inverter makes that of its own clamp: where all sit at one grid connection, what crosses
    /// it, these two, is in each of them and counts once.
    Load(Quantity, Quantity),
    /// All together, and not known where several clamps sit at one grid connection.
    Apart,
}

/// What the house has: powers and energies, of all of it. Voltages, currents, temperatures, shares and modes are of one
/// machine, and the power of a string or a phase is a part of another quantity.
const QUANTITIES: [(Quantity, Rule); 36] = {
    use Quantity as Q;
    use Rule::{Apart, Grid, Load, Sum};
    [
        (Q::pv_power, Sum),
        (Q::battery_power, Sum),
        (Q::battery_charge_power, Sum),
        (Q::battery_discharge_power, Sum),
        (Q::grid_power, Grid),
        (Q::grid_import_power, Grid),
        (Q::grid_export_power, Grid),
        (
            Q::load_power,
            Load(Q::grid_import_power, Q::grid_export_power),
        ),
        (Q::backup_power, Sum),
        (Q::inverter_power, Sum),
        (Q::energy_today, Sum),
        (Q::energy_total, Sum),
        (Q::load_energy_today, Apart),
        (Q::load_energy_total, Apart),
        (Q::inverter_pv_energy_today, Sum),
        (Q::inverter_pv_energy_total, Sum),
        (Q::inverter_grid_import_energy_today, Grid),
        (Q::inverter_grid_import_energy_total, Grid),
        (Q::inverter_grid_export_energy_today, Grid),
        (Q::inverter_grid_export_energy_total, Grid),
        (Q::inverter_battery_charge_energy_today, Sum),
        (Q::inverter_battery_charge_energy_total, Sum),
        (Q::inverter_battery_discharge_energy_today, Sum),
        (Q::inverter_battery_discharge_energy_total, Sum),
        (Q::pv_energy_today, Sum),
        (Q::pv_energy_total, Sum),
        (Q::grid_import_energy_today, Grid),
        (Q::grid_import_energy_total, Grid),
        (Q::grid_export_energy_today, Grid),
        (Q::grid_export_energy_total, Grid),
        (Q::battery_charge_energy_today, Sum),
        (Q::battery_charge_energy_total, Sum),
        (Q::battery_discharge_energy_today, Sum),
        (Q::battery_discharge_energy_total, Sum),
        (
            Q::consumption_energy_today,
            Load(Q::grid_import_energy_today, Q::grid_export_energy_today),
        ),
        (
            Q::consumption_energy_total,
            Load(Q::grid_import_energy_total, Q::grid_export_energy_total),
        ),
    ]
};

/// One inverter's share of the house.
#[derive(Clone, Copy)]
struct Part<'a> {
    name: &'a str,
    values: &'a Values,
    /// Whether it sleeps: no power flows then.
    asleep: bool,
    /// Whether its reading is of the day on which the sum is made.
    of_today: bool,
    /// Which quantities its machine has, by their places in the table.
    has: u64,
}

impl Part<'_> {
    fn has(&self, quantity: Quantity) -> bool {
        place(quantity).is_some_and(|place| self.has >> place & 1 == 1)
    }

    fn raw(&self, quantity: Quantity) -> Option<i64> {
        let description = quantity.description();
        let is_today = matches!(description.role, Role::Today { .. });
        if (self.asleep && description.kind == Kind::Measurement) || (is_today && !self.of_today) {
            return Some(0);
        }
        self.values.raw(quantity)
    }
}

fn place(quantity: Quantity) -> Option<usize> {
    QUANTITIES.iter().position(|(known, _)| *known == quantity)
}

/// The sum over those that have the quantity; missing where one of them does not tell it, or none has it.
fn total<'a>(quantity: Quantity, parts: impl Iterator<Item = &'a Part<'a>>) -> Option<i64> {
    parts
        .filter(|part| part.has(quantity))
        .map(|part| part.raw(quantity))
        .reduce(|one, other| one?.checked_add(other?))?
}

/// A quantity of the house.
fn whole(quantity: Quantity, rule: Rule, parts: &[Part], grid_from: Option<&str>) -> Option<i64> {
    let Some(name) = grid_from.filter(|_| rule != Rule::Sum) else {
        return total(quantity, parts.iter());
    };
    let from = parts.iter().find(|part| part.name == name)?;
    if from.asleep && quantity.description().kind == Kind::Measurement {
        // Nobody looks at the grid connection.
        return None;
    }
    match rule {
        Rule::Sum => total(quantity, parts.iter()),
        Rule::Grid => from.values.raw(quantity).and_then(|_| from.raw(quantity)),
        Rule::Apart => None,
        Rule::Load(import, export) => {
            let counted_again = |grid| {
                let others = parts.iter().filter(|part| part.name != name);
                total(grid, others.filter(|part| part.has(quantity)))
            };
            let has_others = parts
                .iter()
                .any(|part| part.name != name && part.has(quantity) && part.has(import));
            let again = if has_others {
                counted_again(import)?.checked_sub(counted_again(export)?)?
            } else {
                0
            };
            total(quantity, parts.iter())?.checked_sub(again)
        }
    }
}

/// Makes the sum, and remembers what that needs.
struct Site {
    settings: SiteSettings,
    inverter: Arc<Inverter>,
    /// Which quantities each inverter has told since it is polled, by their places in the table: those that it has.
    has: BTreeMap<Arc<str>, u64>,
    /// The sum before and its day.
    before: Option<(Option<Date>, Values)>,
}

/// What is known of an inverter at this moment.
type Seen = (Arc<InverterEntry>, Present);

impl Site {
    fn new(settings: SiteSettings) -> Self {
        Self {
            settings,
            inverter: Inverter::named(NAME),
            has: BTreeMap::new(),
            before: None,
        }
    }

    /// What these inverters come to; missing while the newest reading of one is, or is too old.
    fn sum(&mut self, seen: &[Seen], now: Option<UnixMillis>) -> Option<Values> {
        let zone = self.settings.zone.clone();
        let day = |time: UnixMillis| {
            let timestamp = Timestamp::from_millisecond(time.0).ok()?;
            Some(zone.to_datetime(timestamp).date())
        };
        let today = now.and_then(day);
        let mut parts = Vec::with_capacity(seen.len());
        for (entry, present) in seen {
            let (at, reading) = present.newest.as_ref()?;
            if present.is_gone() || (!present.asleep && at.elapsed() > entry.due) {
                return None;
            }
            let known = self.has.entry(entry.name.clone()).or_default();
            *known |= told(&reading.values);
            parts.push(Part {
                name: &entry.name,
                values: &reading.values,
                asleep: present.asleep,
                of_today: reading.time.and_then(day) == today,
                has: *known,
            });
        }
        let mut values = Values::default();
        for (quantity, rule) in QUANTITIES {
            let grid_from = self.settings.grid_from.as_deref();
            let raw = whole(quantity, rule, &parts, grid_from);
            values.set_raw(quantity, self.held(quantity, rule, raw, today));
        }
        self.before = Some((today, values.clone()));
        Some(values)
    }

    /// What the house has used does not fall because clamps were not read at the same moment.
    fn held(
        &self,
        quantity: Quantity,
        rule: Rule,
        raw: Option<i64>,
        today: Option<Date>,
    ) -> Option<i64> {
        let description = quantity.description();
        let is_corrected = matches!(rule, Rule::Load(..)) && self.settings.grid_from.is_some();
        if description.kind != Kind::Counter || !is_corrected {
            return raw;
        }
        let starts_anew = matches!(description.role, Role::Today { .. });
        let before = self.before.as_ref();
        let before = before.filter(|(day, _)| !starts_anew || *day == today);
        match (raw, before.and_then(|(_, values)| values.raw(quantity))) {
            (Some(raw), Some(before)) if (1..NOISE).contains(&before.saturating_sub(raw)) => {
                Some(before)
            }
            _ => raw,
        }
    }

    /// Makes the sum and tells it, where that is wanted, if something has come or all sleep.
    fn tell(
        &mut self,
        board: &Board,
        clock: WallClock,
        events: &broadcast::Sender<Event>,
        has_come: bool,
    ) {
        let entries = board.inverters();
        if entries.len() < 2 && !self.settings.enabled {
            // Nobody asks for the sum of one.
            return;
        }
        let seen: Vec<Seen> = entries
            .into_iter()
            .map(|entry| {
                let present = entry.present();
                (entry, present)
            })
            .collect();
        let now = clock.now();
        let sum = self.sum(&seen, now).filter(|_| !seen.is_empty());
        let asleep = seen.iter().all(|(_, present)| present.asleep);
        let silent = seen.iter().any(|(_, present)| present.is_gone());
        let reachability = match &sum {
            Some(_) => Some(Reachability::Online),
            None if silent => Some(Reachability::Silent),
            None => None,
        };
        let sum = sum.map(|values| {
            Arc::new(Reading {
                time: now,
                inverter: self.inverter.clone(),
                values,
                counted: None,
            })
        });
        let until = seen
            .iter()
            .filter(|(_, present)| !present.asleep)
            .filter_map(|(entry, present)| present.newest.as_ref()?.0.checked_add(entry.due))
            .min();
        let is_news = board.put_sum(sum.clone(), until, reachability);
        if !self.settings.enabled {
            return;
        }
        let status = reachability.filter(|_| is_news);
        let status = status.map(|reachability| {
            Event::Status(Arc::new(InverterStatus::new(
                self.inverter.clone(),
                reachability,
            )))
        });
        let sum = sum.filter(|_| has_come || asleep || is_news);
        for event in sum.map(Event::Site).into_iter().chain(status) {
            // Without a receiver every sink has ended.
            let _ = events.send(event);
        }
    }
}

/// Which quantities of the table these values have. A counter of the meter is there as soon as its power is, though it
/// may be missing until it can be remembered.
fn told(values: &Values) -> u64 {
    let mut told = 0;
    for (place, (quantity, _)) in QUANTITIES.iter().enumerate() {
        let counter = match quantity.description().role {
            Role::Today { of } => of,
            _ => *quantity,
        };
        if values.raw(*quantity).is_some() || counted::power(counter, values).is_some() {
            told |= 1 << place;
        }
    }
    told
}

fn is_reading(event: &Event) -> bool {
    matches!(event, Event::Reading(_) | Event::Undated(_))
}

/// Makes the sum after each reading until nobody is left to tell.
pub(crate) async fn run(
    settings: SiteSettings,
    clock: WallClock,
    board: Arc<Board>,
    mut heard: broadcast::Receiver<Event>,
    events: broadcast::WeakSender<Event>,
) {
    let mut site = Site::new(settings);
    loop {
        let mut has_come = match timeout(PAUSE, heard.recv()).await {
            Ok(Ok(event)) if is_reading(&event) => true,
            Ok(Err(RecvError::Lagged(_))) => true,
            Ok(Ok(Event::Status(status))) if &*status.inverter.name != NAME => false,
            Ok(Ok(_)) => continue,
            Ok(Err(RecvError::Closed)) => return,
            Err(_) => false,
        };
        // What has come meanwhile is in the same sum. More than fits the channel has readings in it.
        loop {
            match heard.try_recv() {
                Ok(event) => has_come |= is_reading(&event),
                Err(TryRecvError::Lagged(_)) => has_come = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        // Held for as long as that takes: its end is the sinks' order to stop.
        let Some(sender) = events.upgrade() else {
            return;
        };
        site.tell(&board, clock, &sender, has_come);
        drop(sender);
        sleep(GATHERING).await;
    }
}

#[cfg(test)]
mod tests;
