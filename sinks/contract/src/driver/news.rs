//! What a sink is told beside readings. Of each kind only the newest waits, so it needs no bound.

use std::sync::Arc;

use super::Inbox;
use crate::event::{CollectorStatus, InverterStatus, Price};
use crate::sink::{DeliveryError, Sink};

/// Something to tell a sink.
pub(super) enum News {
    Collector(Arc<CollectorStatus>),
    Price(Arc<Price>),
    Status(Arc<InverterStatus>),
}

impl News {
    /// What it is about, for the log.
    pub(super) fn about(&self) -> &str {
        match self {
            Self::Collector(_) => "the collector",
            Self::Price(_) => "the price",
            Self::Status(status) => &status.inverter.name,
        }
    }

    pub(super) async fn tell(&self, sink: &mut dyn Sink) -> Result<(), DeliveryError> {
        match self {
            Self::Collector(status) => sink.collector(status).await,
            Self::Price(price) => sink.price(price).await,
            Self::Status(status) => sink.status(status).await,
        }
    }
}

impl Inbox {
    /// The next thing to tell. At the end nobody needs to know how the collector is and what electricity costs.
    pub(super) fn take_news(&mut self, ended: bool) -> Option<News> {
        if !ended && let Some(status) = self.collector.take() {
            return Some(News::Collector(status));
        }
        if !ended && let Some(price) = self.price.take() {
            return Some(News::Price(price));
        }
        let (_, status) = self.statuses.pop_first()?;
        Some(News::Status(status))
    }

    /// Keeps what could not be told, unless something newer has come meanwhile.
    pub(super) fn keep_news(&mut self, news: News) {
        match news {
            News::Collector(status) => drop(self.collector.get_or_insert(status)),
            News::Price(price) => drop(self.price.get_or_insert(price)),
            News::Status(status) => {
                let name = status.inverter.name.clone();
                self.statuses.entry(name).or_insert(status);
            }
        }
    }
}
