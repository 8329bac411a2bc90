//! The use cases of the mass-change brakes: show them, and open or close the brake of a source.

use std::time::Duration;

use super::{Error, Operations, Operator, Reason, Role};
use crate::event::SourceName;
use crate::intake::{BRAKE_OPEN_MAX, BrakeState, OpenBrakes};
use crate::outbox::{self, REPLACE_TRIES_MAX, Setting};
use crate::time::Timestamp;

/// The brake of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrakeView {
    pub source: String,
    pub state: BrakeState,
}

impl Operations {
    /// Returns the brakes of the sources in use, sorted by source.
    pub fn brakes(&self, _operator: &Operator) -> Vec<BrakeView> {
        self.sources.brakes(self.clock.now())
    }

    /// Returns the open brakes of removed sources: each is open when its source comes back.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn open_brakes_without_source(
        &self,
        operator: &Operator,
    ) -> Result<Vec<BrakeView>, Error> {
        let present = self.brakes(operator);
        let open = self.stored_open_brakes().await?;
        let open = open.open_at(self.clock.now());
        let removed =
            open.filter(|(source, _)| present.iter().all(|brake| brake.source != *source));
        let views = removed.map(|(source, until)| BrakeView {
            source: source.to_owned(),
            state: BrakeState::without_source(Some(until)),
        });
        Ok(views.collect())
    }

    /// Opens the brake of a source for a time, so that an expected mass change passes. Entries that are already held stay
    /// held. Every bridge with the same store obeys within seconds.
    ///
    /// # Errors
    /// Returns an error if the operator lacks the role or gave no reason, if no source has this name, if the time is longer
    /// than [`BRAKE_OPEN_MAX`], or if the store fails.
    pub async fn open_brake(
        &self,
        operator: &Operator,
        source: &SourceName,
        span: Duration,
        reason: Option<Reason>,
    ) -> Result<BrakeView, Error> {
        operator.require(Role::Operator)?;
        if span.is_zero() || span > BRAKE_OPEN_MAX {
            return Err(Error::BrakeOpenTime);
        }
        let until = self.clock.now().after(span);
        self.change_brake(operator, source, Some(until), reason)
            .await
    }

    /// Closes the brake of a source before its time, also of a removed source: otherwise its brake would still be open when the
    /// source comes back.
    ///
    /// # Errors
    /// Returns an error if the operator lacks the role or gave no reason, if no source and no open brake has this name, or if
    /// the store fails.
    pub async fn close_brake(
        &self,
        operator: &Operator,
        source: &SourceName,
        reason: Option<Reason>,
    ) -> Result<BrakeView, Error> {
        self.change_brake(operator, source, None, reason).await
    }

    async fn change_brake(
        &self,
        operator: &Operator,
        source: &SourceName,
        open_until: Option<Timestamp>,
        reason: Option<Reason>,
    ) -> Result<BrakeView, Error> {
        operator.require(Role::Operator)?;
        let reason = reason.ok_or(Error::ReasonRequired)?;
        let is_close = open_until.is_none();
        if self.brake(source).is_err() && !(is_close && self.is_left_open(source).await?) {
            return Err(Error::UnknownSource);
        }
        let (action, target) = match open_until {
            Some(until) => {
                let target = format!("{source} until {}", until.to_rfc3339());
                ("brake_open", target)
            }
            None => ("brake_close", source.to_string()),
        };
        let mut event = self.audit_event(operator, action, target);
        event.reason = Some(reason.into_text());
        self.outbox.append_audit(event).await?;
        let open = self.store_brake(source, open_until).await?;
        self.sources.set_open_brakes(&open);
        Ok(self.brake(source).unwrap_or_else(|_removed| BrakeView {
            source: source.to_string(),
            state: BrakeState::without_source(None),
        }))
    }

    /// Returns whether the store has an open brake of a source that possibly no source file has any more.
    async fn is_left_open(&self, source: &SourceName) -> Result<bool, Error> {
        Ok(self.stored_open_brakes().await?.until(source).is_some())
    }

    async fn stored_open_brakes(&self) -> Result<OpenBrakes, Error> {
        let stored = self.outbox.setting(Setting::OpenBrakes).await?;
        Ok(OpenBrakes::parse(&stored.unwrap_or_default()))
    }

    /// Changes the open brake of one source in the store, also if other changes run at the same time, here or at another
    /// bridge. Returns the open brakes of all sources.
    async fn store_brake(
        &self,
        source: &SourceName,
        open_until: Option<Timestamp>,
    ) -> Result<OpenBrakes, Error> {
        let setting = Setting::OpenBrakes;
        for _ in 0..REPLACE_TRIES_MAX {
            let known = self.outbox.setting(setting).await?;
            let open = OpenBrakes::parse(known.as_deref().unwrap_or_default());
            let open = open.with(source, open_until, self.clock.now());
            let replaced = self.outbox.replace_setting(setting, known, open.text());
            if replaced.await? {
                return Ok(open);
            }
        }
        Err(outbox::Error::Busy.into())
    }

    fn brake(&self, source: &SourceName) -> Result<BrakeView, Error> {
        let mut brakes = self.sources.brakes(self.clock.now()).into_iter();
        let brake = brakes.find(|brake| brake.source == source.as_str());
        brake.ok_or(Error::UnknownSource)
    }
}
