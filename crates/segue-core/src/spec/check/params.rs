//! The declarations of params.

use serde_json::Value;

use crate::spec::{
    ParamKind, codes,
    decode::{Decoder, Fields},
    inputs::{Misfit, misfits},
    problem::{At, Problem},
};

const KNOWN: [&str; 9] =
    ["type", "description", "default", "required", "enum", "minimum", "maximum", "items", "properties"];
const KINDS: [&str; 6] = ["string", "integer", "number", "boolean", "array", "object"];

impl Decoder<'_> {
    /// Checks one declaration, and those inside it.
    pub(super) fn param(&mut self, value: &Value, at: &At<'_>) {
        if let Some(kind) = value.as_str().filter(|kind| KINDS.contains(kind)) {
            let message = "a param is a mapping; this is a text";
            self.add(Problem::new(&codes::WRONG_TYPE, at, message).help(format!("write `{{ type: {kind} }}`")));
            return;
        }
        let Some(fields) = self.mapping(value, at, "a param") else { return };
        self.only(&fields, "a param", &KNOWN, &[]);
        let kind: Option<ParamKind> = self.word(&fields, "type", &KINDS, &[]);
        self.text(&fields, "description");
        if let Some(required) = fields.get("required")
            && !required.is_boolean()
        {
            self.wrong_type(&at.key("required"), "`required` is true or false", required);
        }
        let (minimum, maximum) = (self.number(&fields, "minimum"), self.number(&fields, "maximum"));
        if let (Some(least), Some(greatest)) = (minimum, maximum)
            && least > greatest
        {
            let message = format!("`minimum` {least} is greater than `maximum` {greatest}");
            self.add(Problem::new(&codes::BAD_PARAM, at.key("minimum"), message));
        }
        let is = |kinds: &[ParamKind]| kind.is_none_or(|kind| kinds.contains(&kind));
        for name in ["minimum", "maximum"] {
            self.fits_kind(&fields, name, is(&[ParamKind::Integer, ParamKind::Number]));
        }
        self.fits_kind(&fields, "items", is(&[ParamKind::Array]));
        self.fits_kind(&fields, "properties", is(&[ParamKind::Object]));
        if let Some(items) = fields.get("items") {
            self.param(items, &at.key("items"));
        }
        if let Some(properties) = fields.get("properties") {
            let properties_at = at.key("properties");
            match properties.as_object() {
                Some(properties) => {
                    for (name, property) in properties {
                        self.param(property, &properties_at.key(name));
                    }
                }
                None => self.wrong_type(&properties_at, "`properties` is a mapping of params", properties),
            }
        }
        self.values(&fields);
    }

    /// The default and the choices must be values that the param itself takes.
    fn values(&mut self, fields: &Fields<'_>) {
        let declared = Value::Object(fields.map.clone());
        if let Some(choices) = self.list(fields, "enum", None) {
            if choices.is_empty() {
                self.add(Problem::new(&codes::BAD_PARAM, fields.at.key("enum"), "`enum` allows no value at all"));
            }
            let at = fields.at.key("enum");
            let mut without = declared.clone();
            without.as_object_mut().map(|map| map.remove("enum"));
            for (index, choice) in choices.iter().enumerate() {
                self.misfits(&misfits(&without, choice), &at.index(index), "this choice");
            }
        }
        if let Some(default) = fields.get("default") {
            self.misfits(&misfits(&declared, default), &fields.at.key("default"), "the default");
        }
    }

    fn misfits(&mut self, misfits: &[Misfit], at: &At<'_>, what: &str) {
        for misfit in misfits {
            let message = format!("{what} does not fit: {}", misfit.message);
            self.add(Problem::new(&codes::BAD_PARAM, format!("{at}{}", misfit.pointer), message));
        }
    }

    fn fits_kind(&mut self, fields: &Fields<'_>, name: &str, fits: bool) {
        if !fits && fields.get(name).is_some() {
            let message = format!("`{name}` has no meaning for this `type`");
            self.add(Problem::new(&codes::BAD_PARAM, fields.at.key(name), message).on_key());
        }
    }
}
