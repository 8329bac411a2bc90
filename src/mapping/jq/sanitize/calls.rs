//! Writes the calls of functions for jq: jq's own functions that the language allows, and the functions of the bridge by index.

use jaq_core::load::parse::Term;

use super::super::super::call::{self, function_call, wrong_after_pipe};
use super::super::super::function::{self, BinaryCall, Parameters};
use super::super::super::header;
use super::super::super::syntax::{constant, first_slice};
use super::super::allowed::{ALLOWED, ArgumentKind, constant_text, wrong_number};
use super::{Sanitizer, results};

impl<'c> Sanitizer<'_, 'c> {
    pub(super) fn call(&mut self, name: &'c str, arguments: &[Term<&'c str>]) {
        let mut rows = ALLOWED.iter().filter(|(known, _)| *known == name);
        let is_known = rows.clone().next().is_some();
        let row = rows.find(|(_, kind)| match kind {
            ArgumentKind::Nothing => arguments.is_empty(),
            ArgumentKind::Filter | ArgumentKind::Stream | ArgumentKind::Text => {
                arguments.len() == 1
            }
        });
        match (row, arguments) {
            (Some(_), []) => self.put(name),
            (Some((_, kind)), [argument, ..]) => self.jq_function(name, *kind, argument),
            (None, _) if is_known => {
                self.error(Some(name), wrong_number(name, arguments));
            }
            (None, _) => self.own_function(name, arguments),
        }
    }

    fn jq_function(&mut self, name: &'c str, kind: ArgumentKind, argument: &Term<&'c str>) {
        let is_at_start = self.code.trim_start().as_ptr() == name.as_ptr();
        let of_event = || call::items_of_event(name, argument).filter(|_| is_at_start);
        if let Some(reason) = results::constant_condition(name, argument).or_else(of_event) {
            return self.error(Some(name), reason);
        }
        self.put(name);
        self.put("(");
        match (kind, constant(argument)) {
            (ArgumentKind::Stream, _) => self.stream(argument),
            (ArgumentKind::Text, Some(text)) => self.constant(&text),
            (ArgumentKind::Text, None) => {
                self.error(first_slice(argument), constant_text(name, argument));
            }
            (ArgumentKind::Filter, _) if name == "select" => self.condition(argument),
            (ArgumentKind::Nothing | ArgumentKind::Filter, _) => self.term(argument),
        }
        self.put(")");
    }

    /// Writes a call of one of the bridge's own functions. jaq calls the function by its index.
    fn own_function(&mut self, name: &'c str, arguments: &[Term<&'c str>]) {
        if name == header::NAME {
            return self.header(name, arguments);
        }
        let Some(signature) = function::find(name) else {
            return self.not_allowed(Some(name), name);
        };
        if let (Parameters::Expressions(apply), [first, second]) = (signature.parameters, arguments)
        {
            let index = self.sanitized.binary_calls.len();
            self.sanitized.binary_calls.push(BinaryCall {
                name: signature.name,
                apply,
            });
            self.put(&format!("__binary_call({index}; "));
            self.operand(first);
            self.put("; ");
            self.operand(second);
            return self.put(")");
        }
        match function_call(signature, arguments, self.tables) {
            Ok(call) => {
                let index = self.sanitized.calls.len();
                self.sanitized.calls.push(call);
                self.put(&format!("__call({index})"));
            }
            Err(error) => {
                let after_pipe = || wrong_after_pipe(signature, arguments);
                let reason = self.is_after_pipe(name, "").then(after_pipe).flatten();
                self.error(error.slice.or(Some(name)), reason.unwrap_or(error.reason));
            }
        }
    }

    /// Returns whether a pipe and the text `opening` stand directly before a part of the expression.
    pub(super) fn is_after_pipe(&self, slice: &str, opening: &str) -> bool {
        let start = slice.as_ptr().addr().checked_sub(self.code.as_ptr().addr());
        let before = start.and_then(|start| self.code.get(..start));
        let before = before.and_then(|before| before.trim_end().strip_suffix(opening));
        before.is_some_and(|before| before.trim_end().ends_with('|'))
    }

    fn header(&mut self, name: &'c str, arguments: &[Term<&'c str>]) {
        match header::name_of(arguments) {
            Some(header) => {
                let index = self.sanitized.headers.len();
                self.sanitized.headers.push(header);
                self.put(&format!("__header({index})"));
            }
            None => self.error(Some(name), header::usage(arguments)),
        }
    }
}
