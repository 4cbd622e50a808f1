//! Seccomp programs: rules enter, instructions leave that the kernel runs before each system call.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// System calls by number; no rules: always.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// `BPF_LD | BPF_W | BPF_ABS`: load a word of the call's description.
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JGE | BPF_K`: jump if at least.
const IF_AT_LEAST: u16 = 0x35;
/// `BPF_RET | BPF_K`: decide.
const RETURN: u16 = 0x06;
/// Numbers of the x32 interface begin here: the same calls under other numbers.
const X32: u32 = 0x4000_0000;

/// Whether programs for this processor can be made.
pub(super) fn is_native() -> bool {
    architecture().is_ok()
}

fn architecture() -> Result<TargetArch, BackendError> {
    std::env::consts::ARCH.try_into()
}

/// Argument by index, 32 bits of it, and what it must be for a rule to hold.
pub(super) type Test = (u8, SeccompCmpOp, u64);

/// Holds if all tests hold.
pub(super) fn all_of(tests: &[Test]) -> io::Result<SeccompRule> {
    let conditions: Result<Vec<SeccompCondition>, BackendError> = tests
        .iter()
        .map(|(index, operator, value)| {
            SeccompCondition::new(*index, SeccompCmpArgLen::Dword, operator.clone(), *value)
        })
        .collect();
    conditions.and_then(SeccompRule::new).map_err(io::Error::other)
}

/// A program that answers these calls with an error number, or as if they had succeeded (0), and lets all
/// others pass. Calls of another processor's interface are refused: their numbers mean something else.
pub(super) fn program(rules: Rules, number: i32) -> io::Result<BpfProgram> {
    let answer = SeccompAction::Errno(number.unsigned_abs());
    let filter = architecture()
        .and_then(|architecture| SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture));
    let mut program: BpfProgram = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
    let kill: u32 = SeccompAction::KillProcess.into();
    for instruction in program.iter_mut().filter(|one| one.code == RETURN && one.k == kill) {
        instruction.k = SeccompAction::Errno(libc::EPERM.unsigned_abs()).into();
    }
    Ok(program)
}

/// Calls by their x32 numbers do not exist, as on most kernels.
pub(super) fn without_x32() -> BpfProgram {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, 0),
        step(IF_AT_LEAST, 0, 1, X32),
        step(RETURN, 0, 0, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()).into()),
        step(RETURN, 0, 0, SeccompAction::Allow.into()),
    ]
}

/// A program as the bytes of its instructions, in hexadecimal, for a process that installs it by itself.
pub(super) fn text(program: &BpfProgram) -> String {
    let bytes = program.iter().flat_map(|one| {
        let [first, second] = one.code.to_ne_bytes();
        let [a, b, c, d] = one.k.to_ne_bytes();
        [first, second, one.jt, one.jf, a, b, c, d]
    });
    hex::encode(bytes.collect::<Vec<u8>>())
}

/// The program that [`text`] has written.
pub(super) fn read(text: &str) -> io::Result<BpfProgram> {
    let bytes = hex::decode(text).map_err(io::Error::other)?;
    let (instructions, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(io::Error::other("the last instruction is cut"));
    }
    let read = |&[first, second, jt, jf, a, b, c, d]: &[u8; 8]| sock_filter {
        code: u16::from_ne_bytes([first, second]),
        jt,
        jf,
        k: u32::from_ne_bytes([a, b, c, d]),
    };
    Ok(instructions.iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_read_as_it_was_written() {
        let written = text(&without_x32());
        assert_eq!(text(&read(&written).unwrap()), written);
        assert!(read("00").is_err() && read("zz").is_err());
    }
}
