//! A filter for system calls: what would leave files behind that give others the rights of
//! their owner, or that have more than contents, is refused.
//!
//! The filter is a program for the kernel's packet filter machine, one for all instruction sets that
//! a processor has: a builder can run programs of each of them, and the numbers of the calls differ.
//! It can look at numbers only, not at what an argument points to. That is why `openat2`, whose mode
//! lies in memory, and the rings of `io_uring`, where whole calls do, are refused as if the kernel did not
//! know them, which programs are prepared for: but only where other users can reach what a builder makes.

use libc::sock_filter;

/// What is done to a call with a number.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Refused where this argument, a mode, has a set-id bit.
    Mode(u32),
    /// The same of a call that opens: its flags, its mode. The mode means something only when a file is made.
    Open(u32, u32),
    /// Refused where this argument is a command that types on somebody's terminal.
    Typing(u32),
    /// Refused with an error.
    Refused(i32),
}

/// Calls with their rules.
type Table = &'static [(u32, Rule)];

/// A place in the filter for each instruction set: its number, the bits of a call's number that count, its calls.
type Section = (u32, u32, Table);

const SET_IDS: u32 = libc::S_ISUID | libc::S_ISGID;
/// What makes `open` make a file. The second is the part of `O_TMPFILE` that is its own.
const CREATES: u32 = 0o100 | 0o20_000_000;

/// All bits of a number.
const ALL: u32 = u32::MAX;
/// All but the one that says that a 64-bit call has 32-bit addresses.
#[cfg(target_arch = "x86_64")]
const ALL_BUT_X32: u32 = !0x4000_0000;

// The same everywhere.
const OPENAT2: u32 = 437;
const FCHMODAT2: u32 = 452;
const SETXATTRAT: u32 = 463;
const IO_URING_SETUP: u32 = 425;

const NEWER: [(u32, Rule); 2] = [(FCHMODAT2, Rule::Mode(2)), (SETXATTRAT, Rule::Refused(libc::ENOTSUP))];

/// Calls that a filter cannot see into.
const OPAQUE: [(u32, Rule); 2] =
    [(OPENAT2, Rule::Refused(libc::ENOSYS)), (IO_URING_SETUP, Rule::Refused(libc::ENOSYS))];

#[cfg(target_arch = "x86_64")]
const SECTIONS: &[Section] = &[
    // AUDIT_ARCH_X86_64, with x32.
    (
        0xc000_003e,
        ALL_BUT_X32,
        &[
            (90, Rule::Mode(1)),     // chmod
            (91, Rule::Mode(1)),     // fchmod
            (268, Rule::Mode(2)),    // fchmodat
            (85, Rule::Mode(1)),     // creat
            (2, Rule::Open(1, 2)),   // open
            (257, Rule::Open(2, 3)), // openat
            (133, Rule::Mode(1)),    // mknod
            (259, Rule::Mode(2)),    // mknodat
            (188, Rule::Refused(libc::ENOTSUP)),
            (189, Rule::Refused(libc::ENOTSUP)),
            (190, Rule::Refused(libc::ENOTSUP)),
            (16, Rule::Typing(1)),  // ioctl
            (514, Rule::Typing(1)), // ioctl of x32
        ],
    ),
    // AUDIT_ARCH_I386.
    (
        0x4000_0003,
        ALL,
        &[
            (15, Rule::Mode(1)),     // chmod
            (94, Rule::Mode(1)),     // fchmod
            (306, Rule::Mode(2)),    // fchmodat
            (8, Rule::Mode(1)),      // creat
            (5, Rule::Open(1, 2)),   // open
            (295, Rule::Open(2, 3)), // openat
            (14, Rule::Mode(1)),     // mknod
            (297, Rule::Mode(2)),    // mknodat
            (226, Rule::Refused(libc::ENOTSUP)),
            (227, Rule::Refused(libc::ENOTSUP)),
            (228, Rule::Refused(libc::ENOTSUP)),
            (54, Rule::Typing(1)), // ioctl
        ],
    ),
];

/// The calls of instruction sets that came after the others.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64"))]
const GENERIC: Table = &[
    (52, Rule::Mode(1)),    // fchmod
    (53, Rule::Mode(2)),    // fchmodat
    (56, Rule::Open(2, 3)), // openat
    (33, Rule::Mode(2)),    // mknodat
    (5, Rule::Refused(libc::ENOTSUP)),
    (6, Rule::Refused(libc::ENOTSUP)),
    (7, Rule::Refused(libc::ENOTSUP)),
    (29, Rule::Typing(1)), // ioctl
];

#[cfg(target_arch = "aarch64")]
const SECTIONS: &[Section] = &[
    // AUDIT_ARCH_AARCH64.
    (0xc000_00b7, ALL, GENERIC),
    // AUDIT_ARCH_ARM.
    (
        0x4000_0028,
        ALL,
        &[
            (15, Rule::Mode(1)),     // chmod
            (94, Rule::Mode(1)),     // fchmod
            (333, Rule::Mode(2)),    // fchmodat
            (8, Rule::Mode(1)),      // creat
            (5, Rule::Open(1, 2)),   // open
            (322, Rule::Open(2, 3)), // openat
            (14, Rule::Mode(1)),     // mknod
            (324, Rule::Mode(2)),    // mknodat
            (226, Rule::Refused(libc::ENOTSUP)),
            (227, Rule::Refused(libc::ENOTSUP)),
            (228, Rule::Refused(libc::ENOTSUP)),
            (54, Rule::Typing(1)), // ioctl
        ],
    ),
];
#[cfg(target_arch = "riscv64")]
const SECTIONS: &[Section] = &[(0xc000_00f3, ALL, GENERIC)];
#[cfg(target_arch = "loongarch64")]
const SECTIONS: &[Section] = &[(0xc000_0102, ALL, GENERIC)];
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
)))]
const SECTIONS: &[Section] = &[];

/// A filter, ready for the kernel.
#[derive(Debug, Clone)]
pub struct Filter {
    pub(super) program: Vec<sock_filter>,
}

impl Filter {
    /// The filter for a builder; `None` for a machine whose calls are not known here. Where other
    /// users can reach what the builder makes (`open_to_others`), calls that no filter can see
    /// into are refused as well.
    pub fn new(open_to_others: bool) -> Option<Self> {
        let mut program = vec![code::load(code::ARCH)];
        for &(arch, bits, table) in SECTIONS {
            let rules = NEWER.iter().chain(table).copied();
            let opaque = if open_to_others { OPAQUE.as_slice() } else { &[] };
            let section = section(bits, rules.chain(opaque.iter().copied()));
            // A section is longer than a conditional jump can be far.
            program.extend([code::unless(arch, 1), code::goto(1), code::goto(section.len() as u32)]);
            program.extend(section);
        }
        // No other instruction set runs on this machine.
        program.push(code::answer(libc::SECCOMP_RET_KILL_PROCESS));
        (!SECTIONS.is_empty()).then_some(Self { program })
    }
}

/// The filter for one instruction set: it always comes to an answer.
fn section(bits: u32, rules: impl Iterator<Item = (u32, Rule)>) -> Vec<sock_filter> {
    let mut program = vec![code::load(code::NUMBER), code::and(bits)];
    let allow = code::answer(libc::SECCOMP_RET_ALLOW);
    for (number, rule) in rules {
        let checks = match rule {
            Rule::Mode(mode) => {
                vec![
                    code::load(code::argument(mode)),
                    code::unless_any(SET_IDS, 1),
                    refuse(libc::EPERM),
                    allow,
                ]
            }
            Rule::Open(flags, mode) => vec![
                code::load(code::argument(flags)),
                code::unless_any(CREATES, 3),
                code::load(code::argument(mode)),
                code::unless_any(SET_IDS, 1),
                refuse(libc::EPERM),
                allow,
            ],
            Rule::Typing(command) => vec![
                code::load(code::argument(command)),
                code::when(TIOCSTI, 1),
                code::unless(TIOCLINUX, 1),
                refuse(libc::EPERM),
                allow,
            ],
            Rule::Refused(errno) => vec![refuse(errno)],
        };
        program.push(code::unless(number, checks.len() as u8));
        program.extend(checks);
    }
    program.push(allow);
    program
}

/// Puts a character into the input of a terminal.
const TIOCSTI: u32 = 0x5412;
/// Pastes what is selected on a console.
const TIOCLINUX: u32 = 0x541c;

fn refuse(errno: i32) -> sock_filter {
    code::answer(libc::SECCOMP_RET_ERRNO | (errno as u32 & libc::SECCOMP_RET_DATA))
}

/// The instructions of the machine, as far as they are used. It has one register.
mod code {
    use libc::sock_filter;

    /// Where the number of the call lies in what a filter is given.
    pub const NUMBER: u32 = 0;
    /// Where the number of the instruction set lies.
    pub const ARCH: u32 = 4;

    /// Where the lower half of an argument lies: modes, flags and commands have 32 bits.
    pub const fn argument(index: u32) -> u32 {
        let upper_first = cfg!(target_endian = "big") as u32;
        16 + 8 * index + 4 * upper_first
    }

    const fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
        sock_filter { code: code as u16, jt, jf, k }
    }

    /// Loads a word of the call.
    pub const fn load(offset: u32) -> sock_filter {
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
    }

    /// Keeps some bits.
    pub const fn and(bits: u32) -> sock_filter {
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits, 0, 0)
    }

    /// Passes over so many instructions when the word is this one.
    pub const fn when(word: u32, over: u8) -> sock_filter {
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, word, over, 0)
    }

    /// Passes over so many instructions unless the word is this one.
    pub const fn unless(word: u32, over: u8) -> sock_filter {
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, word, 0, over)
    }

    /// Passes over so many instructions unless one of the bits is set.
    pub const fn unless_any(bits: u32, over: u8) -> sock_filter {
        instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, 0, over)
    }

    /// Passes over so many instructions.
    pub const fn goto(over: u32) -> sock_filter {
        instruction(libc::BPF_JMP | libc::BPF_JA, over, 0, 0)
    }

    /// Ends with an answer.
    pub const fn answer(answer: u32) -> sock_filter {
        instruction(libc::BPF_RET | libc::BPF_K, answer, 0, 0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What the kernel would do with a call.
    fn answer(filter: &Filter, arch: u32, number: u32, arguments: &[u64]) -> u32 {
        let mut data = [0_u8; 64];
        data[..4].copy_from_slice(&number.to_ne_bytes());
        data[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (index, argument) in arguments.iter().enumerate() {
            data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_ne_bytes());
        }
        let (mut word, mut at) = (0_u32, 0);
        loop {
            let step = filter.program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            match u32::from(step.code) {
                0x20 => {
                    let at = step.k as usize;
                    word = u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
                }
                0x54 => word &= step.k,
                0x15 => at += jump(word == step.k),
                0x45 => at += jump(word & step.k != 0),
                0x05 => at += step.k as usize,
                0x06 => return step.k,
                code => panic!("no instruction {code:#x}"),
            }
        }
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const PERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const NOTSUP: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOTSUP as u32;
    const NOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// An argument whose upper half is not looked at.
    const NOISE: u64 = 0xdead_0000_0000;

    #[test]
    fn every_call_of_every_instruction_set() {
        for open in [false, true] {
            let filter = Filter::new(open).unwrap();
            assert!(filter.program.len() < 4096);
            for &(arch, _, table) in SECTIONS {
                let answer = |number, arguments: &[u64]| answer(&filter, arch, number, arguments);
                for &(number, rule) in NEWER.iter().chain(table) {
                    let with = |index: u32, value: u64| {
                        let mut arguments = [NOISE | 0o644; 6];
                        arguments[index as usize] = NOISE | value;
                        arguments
                    };
                    match rule {
                        Rule::Mode(mode) => {
                            for harmless in [0, 0o777, 0o1777, 0o10_0644] {
                                assert_eq!(answer(number, &with(mode, harmless)), ALLOW, "{number}");
                            }
                            for refused in [0o4755, 0o2755, 0o6000, 0o10_4755] {
                                assert_eq!(answer(number, &with(mode, refused)), PERM, "{number}");
                            }
                        }
                        Rule::Open(flags, mode) => {
                            let mut arguments = with(mode, 0o4755);
                            for (value, expected) in [(0, ALLOW), (0o1102, PERM), (0o20_200_002, PERM)] {
                                arguments[flags as usize] = value;
                                assert_eq!(answer(number, &arguments), expected, "{number} {value:o}");
                            }
                            arguments[mode as usize] = 0o644;
                            assert_eq!(answer(number, &arguments), ALLOW);
                        }
                        Rule::Typing(command) => {
                            for (value, expected) in [(0x5401, ALLOW), (0x5412, PERM), (0x541c, PERM)] {
                                assert_eq!(answer(number, &with(command, value)), expected, "{number}");
                            }
                        }
                        Rule::Refused(errno) => {
                            assert_eq!(answer(number, &[]), libc::SECCOMP_RET_ERRNO | errno as u32);
                        }
                    }
                }
                for (number, _) in OPAQUE {
                    assert_eq!(answer(number, &[]), if open { NOSYS } else { ALLOW });
                }
                for number in [0, 1, 3, 100, 400, 1000] {
                    assert_eq!(answer(number, &[0o4755; 6]), ALLOW, "{number}");
                }
            }
            assert_eq!(answer(&filter, 0x1234, 0, &[]), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn calls_with_short_addresses() {
        let (filter, x32, this) = (Filter::new(false).unwrap(), 0x4000_0000, 0xc000_003e);
        assert_eq!(answer(&filter, this, 90 | x32, &[0, 0o4755]), PERM);
        assert_eq!(answer(&filter, this, 188 | x32, &[]), NOTSUP);
        assert_eq!(answer(&filter, this, 514 | x32, &[0, 0x5412]), PERM);
        assert_eq!(answer(&filter, this, 514 | x32, &[0, 0x5401]), ALLOW);
    }
}
