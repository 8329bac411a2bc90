//! From the rules of a configuration to a mapping, or to everything that is wrong with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::contract::{self, ValueFormat};
use super::function::LookupTable;
use super::located::PathStep;
use super::plan::Plan;
use super::syntax::ExpressionError;
use super::{
    AFTER, BEFORE, COUNTRY, CompiledRule, Field, FieldRule, IMPRINT_ID, ImageRules, Images,
    LookupTables, Mapping, MappingRules, PARTNER_ID, RuleError, VERSION, WHEN, lower,
};

/// The compilation of a set of rules; its faults are collected.
pub(super) struct RuleCompiler {
    tables: LookupTables,
    pub(super) faults: Vec<RuleError>,
}

impl RuleCompiler {
    pub(super) fn new(tables: &BTreeMap<String, LookupTable>) -> Self {
        let tables = tables
            .iter()
            .map(|(name, table)| (name.clone(), Arc::new(table.clone())))
            .collect();
        Self {
            tables,
            faults: Vec::new(),
        }
    }

    /// All rules of an event type.
    pub(super) fn mapping(mut self, rules: &MappingRules) -> Result<Mapping, Vec<RuleError>> {
        let when = self.optional(WHEN, rules.when.as_ref());
        let imprint_id = self.optional(IMPRINT_ID, rules.imprint_id.as_ref());
        let partner_id = self.optional(PARTNER_ID, rules.partner_id.as_ref());
        if rules.imprint_id.is_none() && rules.partner_id.is_none() {
            let reason = "an event must say which customer it is about";
            self.fault(IMPRINT_ID, "", reason);
        }
        let version = rules.version.as_ref().and_then(|rule| {
            let compiled = self.rule(VERSION, &rule.expression)?;
            Some((rule.domain, compiled))
        });
        let country = self.optional(COUNTRY, rules.country.as_ref());
        let images = rules
            .only_changed
            .as_ref()
            .and_then(|images| self.images(images));
        let mut fields: Vec<FieldRule> = rules
            .update
            .iter()
            .filter_map(|(target, expression)| self.line(target, expression))
            .collect();
        // In the order in which an update has them: then each fact goes behind the ones before it.
        fields.sort_by(|one, other| one.field.cmp(&other.field));
        let mapping = Mapping {
            when,
            imprint_id,
            partner_id,
            version,
            country,
            images,
            fields,
        };
        self.finish(mapping)
    }

    pub(super) fn finish<T>(self, compiled: T) -> Result<T, Vec<RuleError>> {
        if self.faults.is_empty() {
            Ok(compiled)
        } else {
            Err(self.faults)
        }
    }

    fn images(&mut self, rules: &ImageRules) -> Option<Images> {
        let before = self.rule(BEFORE, &rules.before);
        let after = self.rule(AFTER, &rules.after)?;
        let by_name =
            |steps: &[PathStep]| steps.iter().all(|step| matches!(step, PathStep::Key(_)));
        let after_path = if let Plan::Path(from, steps) = &after.plan
            && matches!(from.as_ref(), Plan::Input)
            && by_name(steps)
        {
            steps.clone()
        } else {
            let reason = "the image that the fields are read from stands at a plain path, such as `.data.after`";
            self.fault(AFTER, &rules.after, reason);
            return None;
        };
        Some(Images {
            before: before?,
            after,
            after_path,
        })
    }

    fn line(&mut self, target: &str, expression: &str) -> Option<FieldRule> {
        let rule = self.rule(target, expression);
        let Some(field) = Field::parse(target) else {
            self.fault(target, expression, &unknown(target));
            return None;
        };
        let form = ValueFormat::of(&field);
        let rule = rule?;
        // What does not depend on the event need not wait for one to be found wrong.
        for refused in contract::wrong_constants(form, &rule.plan) {
            let reason = format!(
                "it can come to a constant that the field does not take: {}",
                refused.detail
            );
            self.fault(target, expression, &reason);
        }
        Some(FieldRule { field, form, rule })
    }

    fn optional(&mut self, target: &str, expression: Option<&String>) -> Option<CompiledRule> {
        self.rule(target, expression?)
    }

    /// One expression.
    pub(super) fn rule(&mut self, target: &str, expression: &str) -> Option<CompiledRule> {
        let plan = lower::lower(expression, &self.tables);
        self.lowered(target, expression, plan)
    }

    /// One expression that may have many results.
    pub(super) fn stream(&mut self, target: &str, expression: &str) -> Option<CompiledRule> {
        let plan = lower::lower_to_jq(expression, &self.tables);
        self.lowered(target, expression, plan)
    }

    fn lowered(
        &mut self,
        target: &str,
        expression: &str,
        plan: Result<Plan, Vec<ExpressionError>>,
    ) -> Option<CompiledRule> {
        let flaws = match plan {
            Ok(plan) => {
                return Some(CompiledRule {
                    target: target.to_owned(),
                    expression: expression.to_owned(),
                    plan,
                });
            }
            Err(flaws) => flaws,
        };
        self.faults.extend(flaws.into_iter().map(|flaw| RuleError {
            target: target.to_owned(),
            expression: expression.to_owned(),
            line: flaw.position.line,
            column: flaw.position.column,
            reason: flaw.reason,
        }));
        None
    }

    fn fault(&mut self, target: &str, expression: &str, reason: &str) {
        self.faults.push(RuleError {
            target: target.to_owned(),
            expression: expression.to_owned(),
            line: 1,
            column: 1,
            reason: reason.to_owned(),
        });
    }
}

/// Why a target is none, and which one may have been meant.
fn unknown(target: &str) -> String {
    let name = target.rsplit('.').next().unwrap_or(target);
    let last = |path: &str| path.rsplit('.').next().is_some_and(|last| last == name);
    let alike: Vec<_> = Field::paths().filter(|path| last(path)).collect();
    match alike.as_slice() {
        [] => "Imprint's update has no such field; what else is to be told goes under metadata"
            .to_owned(),
        alike => format!(
            "Imprint's update has no such field; it has {}",
            alike.join(" and ")
        ),
    }
}
