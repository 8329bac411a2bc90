//! The form that changes entries: what to do, with which entries, and the reason. Pure.

use super::entry_filter::FilterFields;
use super::login::local_path;
use super::problem::ConsoleProblem;
use crate::ops::AdminProblem;
use crate::ops::operate::{
    ChangeSelection, MappingChoice, REPLAYED_STATES, Reason, WithdrawAction,
};
use crate::outbox::{ENTRY_MAX, EntryId, State};

/// What an operator does with entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeAction {
    Replay,
    /// A replay of held entries only.
    Release,
    Withdraw(WithdrawAction),
}

impl ChangeAction {
    /// The release is the last one, because it is the only one that sends a mass change to Imprint.
    pub(super) const ALL: [Self; 4] = [
        Self::Replay,
        Self::Withdraw(WithdrawAction::Discard),
        Self::Withdraw(WithdrawAction::Park),
        Self::Release,
    ];

    /// The actions for entries in several states.
    pub(super) const MIXED: [Self; 3] = [
        Self::Replay,
        Self::Withdraw(WithdrawAction::Discard),
        Self::Withdraw(WithdrawAction::Park),
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Release => "release",
            Self::Withdraw(WithdrawAction::Discard) => "discard",
            Self::Withdraw(WithdrawAction::Park) => "park",
        }
    }

    /// Returns the action as the begin of a title or of a button.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Replay => "Replay",
            Self::Release => "Release",
            Self::Withdraw(WithdrawAction::Discard) => "Discard",
            Self::Withdraw(WithdrawAction::Park) => "Park",
        }
    }

    /// Returns the action as a result.
    pub(super) const fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Release => "released",
            Self::Withdraw(WithdrawAction::Discard) => "discarded",
            Self::Withdraw(WithdrawAction::Park) => "parked",
        }
    }

    /// Returns what the action means for the entries.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Replay => {
                "The entries wait for delivery again. A value that newer data has overtaken is not sent."
            }
            Self::Release => {
                "The entries wait for delivery, and the bridge sends them after new events. A value that newer data has overtaken is not sent. The brake holds later entries of the same mass change, unless an operator opens the brake."
            }
            Self::Withdraw(WithdrawAction::Discard) => {
                "The entries end without a request, and the bridge erases their events. This cannot be undone."
            }
            Self::Withdraw(WithdrawAction::Park) => {
                "The bridge does not send the entries until an operator replays or discards them. Other entries of the customers go on."
            }
        }
    }

    /// Returns what the action means for the held entries of a mass change.
    pub(super) const fn meaning_for_mass_change(self) -> &'static str {
        match self {
            Self::Replay | Self::Release => self.meaning(),
            Self::Withdraw(WithdrawAction::Discard) => {
                "This changes nothing at Imprint: the entries end without a request. The bridge erases their events, and this cannot be undone: if they were right, the source must send them again."
            }
            Self::Withdraw(WithdrawAction::Park) => {
                "This changes nothing at Imprint. Choose it if the mapping is wrong and the change itself is right: a replay of parked entries can map their events again, and a release cannot. To wait for an answer of the source, leave the entries held."
            }
        }
    }

    /// Returns whether nothing can undo the action.
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Withdraw(WithdrawAction::Discard))
    }

    /// Returns whether the action sends a mass change to Imprint.
    pub(super) const fn sends_mass_change(self) -> bool {
        matches!(self, Self::Release)
    }

    /// Returns the states of the entries that the action changes.
    pub(super) const fn accepted(self) -> &'static [State] {
        match self {
            Self::Replay => REPLAYED_STATES,
            Self::Release => &[State::Held],
            Self::Withdraw(action) => action.accepted(),
        }
    }

    /// Returns the actions for entries in one state. For held entries, the replay has the name release.
    pub(super) fn of_state(state: State) -> impl Iterator<Item = Self> {
        let other = if state == State::Held {
            Self::Replay
        } else {
            Self::Release
        };
        let actions = Self::ALL.into_iter();
        actions.filter(move |action| *action != other && action.accepted().contains(&state))
    }

    fn parse(name: &str) -> Option<Self> {
        let mut actions = Self::ALL.into_iter();
        actions.find(|action| action.as_str() == name)
    }
}

/// The entries that a form names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChosenEntries {
    Numbers(Vec<EntryId>),
    /// The entries that match the filter of the list.
    Matching(Box<FilterFields>),
}

impl ChosenEntries {
    pub(super) fn selection(&self) -> Result<ChangeSelection, AdminProblem> {
        Ok(match self {
            Self::Numbers(entries) => ChangeSelection::numbers(entries.clone())?,
            Self::Matching(fields) => ChangeSelection::matching(fields.change_filter()?),
        })
    }
}

/// The change that a form describes.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) action: ChangeAction,
    pub(super) entries: ChosenEntries,
    /// The mapping of a replay. `None` if the form does not choose one.
    pub(super) mapping: Option<MappingChoice>,
    pub(super) reason: Option<Reason>,
    /// The page to which the operator returns.
    pub(super) back: String,
}

impl Change {
    /// Returns the entries that the action changes: a release changes only the held ones of the chosen entries.
    pub(super) fn selection(&self) -> Result<ChangeSelection, AdminProblem> {
        Ok(self.entries.selection()?.only(self.action.accepted()))
    }

    /// Parses the fields of a form. A page sends the numbers of the chosen entries in fields `entry`, with a comma between
    /// the numbers of one field, or it sends the field `filter`.
    ///
    /// # Errors
    /// Returns an error if a field is wrong, or if the form names no entry.
    pub(super) fn parse(fields: Vec<(String, String)>) -> Result<Self, ConsoleProblem> {
        let (mut action, mut filter, mut numbers) = (None, None, Vec::new());
        let (mut mapping, mut reason) = (None, None);
        let mut back = None;
        for (name, text) in fields {
            match name.as_str() {
                "action" => action = ChangeAction::parse(&text),
                "entry" => numbers.extend(parse_numbers(&text)?),
                "filter" => filter = Some(FilterFields::parse(&text)?),
                "mapping" => {
                    mapping = Some(match text.as_str() {
                        "current" => MappingChoice::Current,
                        _ => MappingChoice::Stored,
                    });
                }
                "reason" => reason = Reason::parse(&text)?,
                "back" => back = Some(text),
                _ => {}
            }
        }
        let back = local_path(back.or_else(|| Some("/entries".to_owned())));
        let entries = match (filter, numbers.is_empty()) {
            (Some(fields), true) => ChosenEntries::Matching(Box::new(fields)),
            (None, false) => ChosenEntries::Numbers(numbers),
            (None, true) => return Err(ConsoleProblem::NothingChosen { back }),
            (Some(_), false) => {
                return Err(malformed("name the entries either by number or by filter").into());
            }
        };
        Ok(Self {
            action: action.ok_or_else(|| malformed("choose an action"))?,
            entries,
            mapping,
            reason,
            back,
        })
    }
}

/// Parses numbers of entries with commas between them.
fn parse_numbers(text: &str) -> Result<Vec<EntryId>, AdminProblem> {
    let numbers = text.split(',').map(|number| {
        let number = number.parse().ok().filter(|number| *number <= ENTRY_MAX);
        number
            .map(EntryId)
            .ok_or_else(|| malformed("no entry has this number"))
    });
    numbers.collect()
}

fn malformed(text: &str) -> AdminProblem {
    AdminProblem::Malformed(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(fields: &[(&str, &str)]) -> Result<Change, ConsoleProblem> {
        let fields = fields.iter();
        let fields = fields.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Change::parse(fields.collect())
    }

    /// FAULTS N872
    #[test]
    fn a_form_names_an_action_and_entries() {
        let change = parsed(&[
            ("action", "replay"),
            ("entry", "7,8"),
            ("entry", "9"),
            ("mapping", "current"),
            ("back", "//evil.example"),
        ]);
        let change = change.unwrap();
        assert_eq!(change.action, ChangeAction::Replay);
        let numbers = ChosenEntries::Numbers([7, 8, 9].map(EntryId).to_vec());
        assert_eq!((change.entries, change.back.as_str()), (numbers, "/"));
        assert_eq!(
            (change.mapping, change.reason),
            (Some(MappingChoice::Current), None)
        );
        for wrong in [
            &[("action", "replay")][..],
            &[("action", "erase"), ("entry", "7")],
            &[("entry", "7")],
            &[("action", "park"), ("entry", "x")],
            &[("action", "park"), ("entry", "7,")],
            &[("action", "park"), ("entry", "18446744073709551615")],
            &[("action", "park"), ("entry", "7"), ("filter", "id=a")],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
        let matching = parsed(&[("action", "park"), ("filter", "state=waiting&id=a&after=7")]);
        let selection = matching.unwrap().entries.selection().unwrap();
        assert!(selection.is_accepted(ChangeAction::Withdraw(WithdrawAction::Park).accepted()));
        assert!(!selection.is_accepted(ChangeAction::Replay.accepted()));
    }
}
