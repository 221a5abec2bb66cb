//! Embeddings: each text as a vector of length one, made of its words, so that texts that share words are near each other.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use segue_core::ids::ContentHash;
use serde_json::{Value, json};

use crate::chat::{ApiError, tokens};

const DIMENSIONS: usize = 1536;
/// Of models whose name ends in `-large`.
const DIMENSIONS_LARGE: usize = 3072;
const DIMENSIONS_MAX: usize = 8192;
/// OpenAI's own bound.
const INPUTS_MAX: usize = 2048;
/// Numbers in one answer.
const NUMBERS_MAX: usize = 8_000_000;
/// How many numbers of a vector a word changes: eight parts of four bytes in its hash.
const PART_BYTES: usize = 4;

/// The body of `POST /v1/embeddings`.
#[derive(Debug)]
pub(crate) struct EmbeddingRequest {
    model: String,
    inputs: Vec<Input>,
    dimensions: usize,
    is_base64: bool,
}

/// One thing to be embedded: its words, and how much it is.
#[derive(Debug)]
struct Input {
    text: String,
    tokens: u64,
}

impl EmbeddingRequest {
    /// Reads and checks a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let refused = |message: String, param| Err(ApiError::bad_request(message, Some(param)));
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("The body of the request is not JSON: {error}."), None))?;
        let Some(model) = value["model"].as_str() else {
            return refused("Missing required parameter: 'model'.".to_owned(), "model");
        };
        let Some(inputs) = inputs_of(&value["input"]) else {
            let message = "'input' is a text, a list of texts, or tokens; it is not empty.".to_owned();
            return refused(message, "input");
        };
        if inputs.len() > INPUTS_MAX {
            return refused(format!("'input' holds more than {INPUTS_MAX} items."), "input");
        }
        let usual = if model.ends_with("-large") { DIMENSIONS_LARGE } else { DIMENSIONS };
        let dimensions = match &value["dimensions"] {
            Value::Null => Some(usual),
            given => given.as_u64().and_then(|number| usize::try_from(number).ok()),
        };
        let Some(dimensions) = dimensions.filter(|number| (1..=DIMENSIONS_MAX).contains(number)) else {
            return refused(format!("'dimensions' is a number from 1 to {DIMENSIONS_MAX}."), "dimensions");
        };
        if dimensions * inputs.len() > NUMBERS_MAX {
            return refused(format!("The answer would hold more than {NUMBERS_MAX} numbers."), "input");
        }
        let is_base64 = match value["encoding_format"].as_str() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return refused("'encoding_format' is 'float' or 'base64'.".to_owned(), "encoding_format"),
        };
        Ok(Self { model: model.to_owned(), inputs, dimensions, is_base64 })
    }

    /// All that is to be embedded.
    pub(crate) fn text(&self) -> String {
        self.inputs.iter().map(|input| input.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// About how many tokens are read.
    pub(crate) fn input_tokens(&self) -> u64 {
        self.inputs.iter().map(|input| input.tokens).sum()
    }

    /// The answer, which says that it read so many tokens.
    pub(crate) fn answer(&self, input_tokens: u64) -> Value {
        let item = |(index, input): (usize, &Input)| {
            let vector = vector(&input.text, self.dimensions);
            let embedding = if self.is_base64 {
                json!(STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()))
            } else {
                json!(vector)
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        };
        json!({
            "object": "list",
            "data": self.inputs.iter().enumerate().map(item).collect::<Vec<_>>(),
            "model": self.model,
            "usage": { "prompt_tokens": input_tokens, "total_tokens": input_tokens },
        })
    }
}

/// A text, several, the tokens of one, those of several; none if it is nothing of that, or nothing at all.
fn inputs_of(input: &Value) -> Option<Vec<Input>> {
    let of_text = |text: &str| Input { text: text.to_owned(), tokens: tokens(text.chars().count()) };
    let of_tokens = |list: &Vec<Value>| -> Option<Input> {
        let words: Vec<String> =
            list.iter().map(|token| token.as_u64().map(|id| id.to_string())).collect::<Option<_>>()?;
        Some(Input { tokens: words.len() as u64, text: words.join(" ") })
    };
    match input {
        Value::String(text) => Some(vec![of_text(text)]),
        Value::Array(items) if items.first()?.is_u64() => Some(vec![of_tokens(items)?]),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Some(of_text(text)),
                Value::Array(list) => of_tokens(list),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions];
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    for word in words {
        let hash = ContentHash::of(word.to_lowercase().as_bytes());
        for part in hash.as_bytes().chunks_exact(PART_BYTES) {
            let number = part.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            let sign = if number >> 31 == 0 { 1.0 } else { -1.0 };
            vector[(number & 0x7fff_ffff) as usize % dimensions] += sign;
        }
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    } else {
        vector[0] = 1.0;
    }
    vector
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn embed(request: Value) -> Value {
        let request = EmbeddingRequest::parse(request.to_string().as_bytes()).unwrap();
        request.answer(request.input_tokens())
    }

    fn numbers(item: &Value) -> Vec<f64> {
        item["embedding"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    #[test]
    fn texts_that_share_words_are_near_each_other() {
        let texts = ["the cat sat on the mat", "a cat sat on a mat", "interest rates rose again", ""];
        let answer = embed(json!({ "model": "e", "input": texts, "dimensions": 64 }));
        let all: Vec<Vec<f64>> = answer["data"].as_array().unwrap().iter().map(numbers).collect();
        let near = |a: usize, b: usize| all[a].iter().zip(&all[b]).map(|(x, y)| x * y).sum::<f64>();
        for (at, vector) in all.iter().enumerate() {
            assert_eq!(vector.len(), 64);
            assert!((near(at, at) - 1.0).abs() < 1e-5, "of length one");
        }
        assert!(near(0, 1) > near(0, 2) + 0.2, "{} {}", near(0, 1), near(0, 2));
        assert_eq!(answer["usage"], json!({ "prompt_tokens": 18, "total_tokens": 18 }));
    }

    #[test]
    fn every_form_of_input_and_output_is_known() {
        let floats = embed(json!({ "model": "text-embedding-3-large", "input": "a b" }));
        assert_eq!(numbers(&floats["data"][0]).len(), DIMENSIONS_LARGE);
        let packed = embed(json!({ "model": "text-embedding-3-large", "input": "a b", "encoding_format": "base64" }));
        let bytes = STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
        let unpacked: Vec<f64> =
            bytes.chunks_exact(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect();
        assert_eq!(unpacked, numbers(&floats["data"][0]));

        let tokens = embed(json!({ "model": "m", "input": [[1, 2], [3]], "dimensions": 2 }));
        assert_eq!((tokens["data"].as_array().unwrap().len(), &tokens["usage"]["total_tokens"]), (2, &json!(3)));
        assert_eq!(embed(json!({ "model": "m", "input": [5, 6, 7] }))["usage"]["total_tokens"], 3);
    }

    #[test]
    fn what_cannot_be_embedded_is_refused() {
        let full = json!(vec!["x"; INPUTS_MAX]);
        for (request, param) in [
            (json!({ "input": "x" }), "model"),
            (json!({ "model": "m" }), "input"),
            (json!({ "model": "m", "input": [] }), "input"),
            (json!({ "model": "m", "input": [1, "x"] }), "input"),
            (json!({ "model": "m", "input": [["x"]] }), "input"),
            (json!({ "model": "m", "input": full, "dimensions": DIMENSIONS_MAX }), "input"),
            (json!({ "model": "m", "input": "x", "dimensions": 0 }), "dimensions"),
            (json!({ "model": "m", "input": "x", "dimensions": 1 << 20 }), "dimensions"),
            (json!({ "model": "m", "input": "x", "encoding_format": "hex" }), "encoding_format"),
        ] {
            let error = EmbeddingRequest::parse(request.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.to_json()["error"]["param"], param, "{request}");
        }
    }
}
