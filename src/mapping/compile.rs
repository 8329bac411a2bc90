//! Compiles the mapping rules of a configuration into a mapping, or returns every error in the rules.

use std::collections::BTreeSet;

use serde_json::Value;

use super::contract;
use super::jq::Program;
use super::located::PathStep;
use super::plan::Plan;
use super::syntax::{self, ExpressionError};
use super::used::{UsedExtent, UsedParts, UsedStep, ValueOrigin};
use super::{
    AFTER, BEFORE, COUNTRY, CUSTOMER, CompiledRule, Field, FieldRule, IMPRINT_ID, ImageRules,
    Images, LookupTables, Mapping, MappingRules, PARTNER_ID, RuleError, VERSION, WHEN, lower,
};
use crate::event::member_name::SensitiveKind;
use crate::spelling;

/// The beginning of the targets of the expressions in `[body]`.
const BODY: &str = "body.";

/// The compiler of mapping rules, with the errors found up to now.
pub(super) struct RuleCompiler {
    tables: LookupTables,
    pub(super) errors: Vec<RuleError>,
}

impl RuleCompiler {
    pub(super) fn new(tables: &LookupTables) -> Self {
        Self {
            tables: tables.clone(),
            errors: Vec::new(),
        }
    }

    /// Compiles all mapping rules of an event type.
    pub(super) fn mapping(mut self, rules: &MappingRules) -> Result<Mapping, Vec<RuleError>> {
        let when = self.optional(WHEN, rules.when.as_ref());
        let imprint_id = self.optional(IMPRINT_ID, rules.imprint_id.as_ref());
        let partner_id = self.optional(PARTNER_ID, rules.partner_id.as_ref());
        if rules.imprint_id.is_none() && rules.partner_id.is_none() {
            let reason =
                "is required, or customer.partner_id: an event must say which customer it is about";
            self.error(CUSTOMER, "", reason);
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
            .filter_map(|(target, expression)| {
                let field = self.field(target, expression)?;
                let skips_invalid = rules.skipped.contains(target);
                Some(FieldRule {
                    skips_invalid,
                    ..field
                })
            })
            .collect();
        // The compiler sorts the rules by field, because an update is fastest to build if the values come in the order
        // of the fields.
        fields.sort_by(|one, other| one.field.cmp(&other.field));
        let mut headers = BTreeSet::new();
        if let Some(when) = &when {
            when.plan.add_headers(&mut headers);
        }
        let images = images.map(|images| Images {
            is_condition: when
                .as_ref()
                .is_some_and(|when| reads_before(&images.before, when, &images.after_path)),
            ..images
        });
        let mapping = Mapping {
            headers,
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
        if self.errors.is_empty() {
            Ok(compiled)
        } else {
            Err(self.errors)
        }
    }

    fn images(&mut self, rules: &ImageRules) -> Option<Images> {
        let before = self.rule(BEFORE, &rules.before);
        let after = self.rule(AFTER, &rules.after)?;
        let has_only_keys =
            |steps: &[PathStep]| steps.iter().all(|step| matches!(step, PathStep::Key(_)));
        let after_path = if let Plan::Path(from, steps) = &after.plan
            && matches!(from.as_ref(), Plan::Input)
            && has_only_keys(steps)
        {
            steps.clone()
        } else {
            let reason = "the after image must be a plain path, such as `.data.after`";
            self.error(AFTER, &rules.after, reason);
            return None;
        };
        Some(Images {
            before: before?,
            after,
            after_path,
            is_condition: false,
        })
    }

    fn field(&mut self, target: &str, expression: &str) -> Option<FieldRule> {
        let known = self.errors.len();
        let rule = self.rule(target, expression);
        let Some(field) = Field::parse(target) else {
            self.error(target, "", &unknown(target));
            return None;
        };
        let is_refused = self.errors.len() > known;
        let rule = rule.filter(|_| !is_refused)?;
        // The compiler reports a wrong constant when it compiles the mapping, before any event uses the constant.
        for error in contract::wrong_constants(&field, &rule.plan) {
            let reason = format!(
                "the result can be a constant that the field does not accept: {}",
                error.detail
            );
            self.error(target, expression, &reason);
        }
        Some(FieldRule {
            field,
            rule,
            skips_invalid: false,
        })
    }

    fn optional(&mut self, target: &str, expression: Option<&String>) -> Option<CompiledRule> {
        self.rule(target, expression?)
    }

    /// Compiles one mapping expression.
    pub(super) fn rule(&mut self, target: &str, expression: &str) -> Option<CompiledRule> {
        let plan = lower::lower(expression, &self.tables);
        let plan = self.or_record(target, expression, plan)?;
        if let Plan::Literal(Value::String(text)) = &plan
            && let Some(reason) = constant_like_a_path(text)
        {
            self.error(target, expression, &reason);
        }
        let mut headers = BTreeSet::new();
        plan.add_headers(&mut headers);
        if !headers.is_empty() && target != WHEN && !target.starts_with(BODY) {
            let reason = "`header` is available only in the expressions of [body] and in `when`";
            self.error(target, expression, reason);
        }
        Some(CompiledRule {
            target: target.to_owned(),
            expression: expression.to_owned(),
            plan,
        })
    }

    /// Compiles one mapping expression that can have many results.
    pub(super) fn stream(&mut self, target: &str, expression: &str) -> Option<Program> {
        let program = lower::lower_stream(expression, &self.tables);
        self.or_record(target, expression, program)
    }

    fn or_record<T>(
        &mut self,
        target: &str,
        expression: &str,
        result: Result<T, Vec<ExpressionError>>,
    ) -> Option<T> {
        let errors = match result {
            Ok(compiled) => return Some(compiled),
            Err(errors) => errors,
        };
        self.errors.extend(errors.into_iter().map(|error| {
            RuleError {
                target: target.to_owned(),
                expression: expression.to_owned(),
                line: error.position.line,
                column: error.position.column,
                reason: error
                    .unknown
                    .and_then(|name| field_function(target, &name))
                    .unwrap_or(error.reason),
            }
        }));
        None
    }

    fn error(&mut self, target: &str, expression: &str, reason: &str) {
        self.errors.push(RuleError {
            target: target.to_owned(),
            expression: expression.to_owned(),
            line: 1,
            column: 1,
            reason: reason.to_owned(),
        });
    }
}

/// Names of functions that make a number.
const NUMBERS: &[&str] = &["tonumber", "toint", "int", "number"];
/// Functions of other languages that authors write for a field, and the function that makes the value of the field.
const FIELD_FUNCTIONS: [(&str, &[&str], &str); 4] = [
    ("phone", NUMBERS, "e164"),
    ("postal_code", NUMBERS, "us_zip"),
    ("state", &["alpha2"], "us_state"),
    ("country", &["alpha2"], "alpha3"),
];

/// Returns the error of an unknown function in the expression of a field, if the field has a function of its own.
fn field_function(target: &str, name: &str) -> Option<String> {
    // Metadata can have any value.
    let of_imprint = Some(target).filter(|target| !target.starts_with("metadata."))?;
    let field = of_imprint.rsplit('.').next()?;
    let of_field = |(known, names, _): &&(&str, &[&str], &str)| {
        *known == field && names.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    let (_, _, function) = FIELD_FUNCTIONS.iter().find(of_field)?;
    Some(syntax::not_allowed(name, Some(&format!("use {function}"))))
}

/// Returns the error of a constant text that looks like the path of a member, or like a template. Every customer would get this
/// text.
fn constant_like_a_path(text: &str) -> Option<String> {
    let is_path = |text: &str| {
        let name = text.strip_prefix('.').unwrap_or_default();
        let of_path = |sign: char| sign.is_ascii_alphanumeric() || "_.[]".contains(sign);
        name.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_')
            && name.chars().all(of_path)
    };
    if is_path(text) {
        return Some(format!(
            "the inner quotes make a constant text: write {text} without them to read the member"
        ));
    }
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    let is_template = ["{{", "${", "#{"].iter().any(|sign| text.contains(sign))
        || text.split('{').skip(1).any(|rest| {
            let name = rest.split('}').next().unwrap_or_default();
            rest.contains('}') && is_path(name)
        })
        || text
            .split_whitespace()
            .any(|word| is_path(word) && word.matches('.').count() > 1);
    (is_template || inner.is_some_and(is_path)).then(|| {
        "the expression is a constant text, and the bridge replaces nothing in it: a path such as .first_name reads a member, and a text has a value of the event in \\(…), such as \"\\(.first_name) \\(.last_name)\"".to_owned()
    })
}

/// Names that other systems give to a field of Imprint.
const OTHER_NAMES: [(&[&str], &str); 10] = [
    (
        &["name", "full_name", "fullname", "fullName", "display_name"],
        "first_name and last_name",
    ),
    (&["zip", "zip_code", "zipcode", "postcode"], "postal_code"),
    (
        &[
            "mobile",
            "mobile_phone",
            "mobilephone",
            "phone_number",
            "telephone",
            "cell",
        ],
        "phone",
    ),
    (&["email_address", "mail"], "email"),
    (&["language", "locale", "lang"], "preferred_language"),
    (&["surname", "family_name"], "last_name"),
    (&["given_name", "forename"], "first_name"),
    (&["province", "region"], "state"),
    (&["street", "address", "address1", "line1"], "street_line1"),
    (
        &["country", "country_code"],
        "customer_history.address.country",
    ),
];

/// Returns the field whose name is misspelt or shortened in `target`. A field of the same group comes first. The group itself
/// makes no name similar: `customer_history.gender` is not `customer_history.phone`.
fn near_field(target: &str) -> Option<&'static str> {
    let (group, name) = target.rsplit_once('.').unwrap_or(("", target));
    let split = |path: &'static str| path.rsplit_once('.').unwrap_or(("", path));
    let in_group = Field::paths().filter(|path| split(path).0 == group);
    let fields: Vec<&str> = in_group.chain(Field::paths()).collect();
    let near = spelling::misspelt_or_part(name, fields.iter().map(|path| split(path).1))?;
    fields.into_iter().find(|path| split(path).1 == near)
}

/// Returns the error text for a target that Imprint's update does not have. The text names the group of fields that the
/// target is, the fields whose path ends with the same name, or the field that the author probably meant.
fn unknown(target: &str) -> String {
    let name = target.rsplit('.').next().unwrap_or(target);
    let last = |path: &&str| path.rsplit('.').next().is_some_and(|last| last == name);
    let none = "Imprint's update has no such field";
    if target == "metadata" {
        return format!("{none}; metadata is a group of fields, such as metadata.tier");
    }
    if Field::is_object(target) {
        let group = format!("{target}.");
        let first = Field::paths().find(|path| path.starts_with(&group));
        let first = first.unwrap_or_default();
        return format!("{none}; {target} is a group of fields, such as {first}");
    }
    let alike: Vec<_> = Field::paths().filter(last).collect();
    if alike.is_empty() {
        let other_name = OTHER_NAMES.iter().find(|(names, _)| names.contains(&name));
        let other_name = other_name.map(|(_, field)| *field);
        return match other_name.or_else(|| near_field(target)) {
            Some(nearest) => format!("{none}; did you mean {nearest}?"),
            None if SensitiveKind::of(name).is_some() => {
                format!(
                    "{none}; leave out secrets and the numbers of identity documents, bank accounts and payment cards, also under metadata"
                )
            }
            None => format!("{none}; other data goes under metadata, such as metadata.{name}"),
        };
    }
    format!("{none}; it has {}", alike.join(" and "))
}

/// Returns whether the condition `when` reads the row before a change: a part that the rule `before` uses outside of the row after
/// the change, or the row before it inside that row.
fn reads_before(before: &CompiledRule, when: &CompiledRule, after_path: &[PathStep]) -> bool {
    let mut of_condition = UsedParts::default();
    let result = when.plan.used(&[ValueOrigin::event()], &mut of_condition);
    of_condition.touch(&result);
    let mut of_row = UsedParts::default();
    let rows = before.plan.used(&[ValueOrigin::event()], &mut of_row);
    of_row.touch(&rows);
    let after: Vec<UsedStep> = after_path
        .iter()
        .filter_map(|step| match step {
            PathStep::Key(key) => Some(UsedStep::Member(key.clone())),
            PathStep::Index(_) => None,
        })
        .collect();
    let parts: Vec<Vec<UsedStep>> = of_row
        .into_parts()
        .into_iter()
        .map(|part| part.steps)
        .collect();
    // The way to a part says nothing about the row.
    let is_way = |steps: &Vec<UsedStep>| {
        let mut others = parts.iter();
        others.any(|other| other.len() > steps.len() && other.starts_with(steps))
    };
    let outside = parts
        .iter()
        .filter(|steps| !is_way(steps) && !steps.starts_with(&after) && !after.starts_with(steps));
    let inside = rows.iter().filter_map(ValueOrigin::steps);
    let inside = inside.filter(|steps| steps.len() > after.len() && steps.starts_with(&after));
    let rows: Vec<&[UsedStep]> = outside.map(Vec::as_slice).chain(inside).collect();
    of_condition.into_parts().iter().any(|part| {
        rows.iter().any(|row| {
            let is_around = part.extent == UsedExtent::Whole && row.starts_with(&part.steps);
            part.steps.starts_with(row) || is_around
        })
    })
}
