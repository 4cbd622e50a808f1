//! `ServerReflection`, the same in `v1` and `v1alpha`: a request in, its answer out.

use super::{
    descriptor::Library,
    wire::{Fields, Malformed, Message},
};

/// Statuses within answers.
const INVALID_ARGUMENT: u64 = 3;
const NOT_FOUND: u64 = 5;

/// Answers one request of the stream.
pub(crate) fn answer(request: &[u8], library: &Library) -> Result<Vec<u8>, Malformed> {
    let mut host = "";
    let mut told = error(INVALID_ARGUMENT, "the request asks for nothing");
    for field in Fields::of(request) {
        match field? {
            (1, value) => host = value.text()?,
            (3, value) => told = files(library.named(value.text()?)),
            (4, value) => told = files(library.defining(value.text()?)),
            (5, value) => {
                let (message, number) = extension(value.bytes()?)?;
                told = files(library.extending(message, number));
            }
            (6, value) => told = extensions(library, value.text()?),
            (7, _) => told = services(library),
            _ => {}
        }
    }
    let (field, body) = told;
    Ok(Message::default().text(1, host).message(2, request).message(field, &body).bytes())
}

/// One of the answers: its field and its bytes.
type Told = (u32, Vec<u8>);

fn files(found: Option<Vec<&[u8]>>) -> Told {
    match found {
        Some(files) => {
            let message =
                files.into_iter().fold(Message::default(), |message, file| message.message(1, file));
            (4, message.bytes())
        }
        None => error(NOT_FOUND, "nothing of that name is described here"),
    }
}

fn extension(request: &[u8]) -> Result<(&str, u64), Malformed> {
    let (mut message, mut extension) = ("", 0);
    for field in Fields::of(request) {
        match field? {
            (1, value) => message = value.text()?,
            (2, value) => extension = value.number()?,
            _ => {}
        }
    }
    Ok((message, extension))
}

fn extensions(library: &Library, message: &str) -> Told {
    match library.extensions(message) {
        Some(numbers) => {
            let named = Message::default().text(1, message);
            (5, numbers.into_iter().fold(named, |message, number| message.number(2, number)).bytes())
        }
        None => error(NOT_FOUND, "nothing of that name is described here"),
    }
}

fn services(library: &Library) -> Told {
    let service = |name| Message::default().text(1, name).bytes();
    let list = library.services().fold(Message::default(), |list, name| list.message(1, &service(name)));
    (6, list.bytes())
}

fn error(code: u64, text: &str) -> Told {
    (7, Message::default().number(1, code).text(2, text).bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::wire::Value, *};

    proptest! {
        #[test]
        fn any_bytes_are_answered_or_malformed(
            question in proptest::collection::vec(any::<u8>(), 0..100),
            file in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let library = Library::of_package([file].into_iter(), &[]);
            if let Ok(answer) = answer(&question, &library) {
                prop_assert!(Fields::of(&answer).all(|field| field.is_ok()));
            }
        }
    }

    fn asked(field: u32, text: &str) -> (u32, Vec<u8>) {
        let request = Message::default().text(1, "h").message(field, text.as_bytes()).bytes();
        let answer = answer(&request, Library::own()).unwrap();
        let fields: Vec<_> = Fields::of(&answer).map(Result::unwrap).collect();
        assert_eq!(
            fields[..2],
            [(1, Value::Bytes(b"h")), (2, Value::Bytes(&request))],
            "the question comes back"
        );
        (fields[2].0, fields[2].1.bytes().unwrap().to_vec())
    }

    #[test]
    fn every_question_has_its_answer() {
        assert_eq!(asked(7, "").0, 6);
        assert_eq!(asked(7, "*").1.split(|byte| *byte == 0x0a).filter(|part| part.len() > 1).count(), 4);
        assert_eq!(asked(3, "pixell/agent.proto").0, 4);
        assert_eq!(asked(4, "pixell.agent.AgentService").0, 4);
        assert_eq!(asked(6, "pixell.agent.Pong"), (5, b"\x0a\x11pixell.agent.Pong".to_vec()));
        for (field, text) in [(3, "x.proto"), (4, "x.Y"), (5, "\u{a}\u{1}x\u{10}\u{1}"), (6, "x.Y")] {
            let (kind, body) = asked(field, text);
            assert_eq!((kind, &body[..2]), (7, &[8, 5][..]), "field {field}");
        }
    }

    #[test]
    fn a_question_without_a_question_is_told_so() {
        let answer = answer(b"", Library::own()).unwrap();
        assert!(answer.starts_with(&[0x12, 0, 0x3a]), "{answer:?}");
        assert!(super::answer(&[0x0a, 5], Library::own()).is_err());
    }
}
