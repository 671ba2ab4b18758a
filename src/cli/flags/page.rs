//! The help of a program, an operation or a subcommand: what it is for and every flag with a
//! sentence. The same page is printed by `--help` and written as a man page.

use std::fmt::Write as _;

use super::{Group, OWN, Operation, Program, Row, common};
use crate::cli::output::streams::{Out, terminal_columns};
use crate::cli::output::version::VERSION;

/// The widest that text gets, and the width where there is no terminal.
const WIDEST: usize = 100;
/// Where the sentences about flags begin.
const INDENT: usize = 34;

/// What is said at the end of every page.
const SETTINGS: &str = "Every setting of nix.conf is a flag, too: --NAME VALUE, --NAME and --no-NAME for switches, \
                        --extra-NAME VALUE to add to a list; 'nix config show' lists the settings.";

/// Names and what each of them is for, below a title.
pub struct Section {
    /// The title.
    pub title: String,
    /// Names and sentences without a full stop.
    pub entries: Vec<(String, String)>,
}

/// A page of help.
pub struct Page {
    /// The words that it is about.
    pub name: String,
    /// What may be written: one line for each way.
    pub synopsis: Vec<String>,
    /// What it does, in a sentence without its full stop.
    pub about: String,
    /// More about it.
    pub more: Vec<String>,
    /// Its operations, subcommands and flags.
    pub sections: Vec<Section>,
    /// What is said at the end.
    pub notes: Vec<String>,
    /// Names of other man pages.
    pub see_also: Vec<String>,
}

/// The error for a flag or an operation that stands in the tables and that its program does not
/// know: a fault of this program. tests/it/test_flags.rs tries every flag that a help shows.
pub fn not_taken(name: &str) -> anyhow::Error {
    anyhow::anyhow!("'{name}' is in the tables, but nothing takes it")
}

impl Section {
    /// Flags below a title.
    pub fn of_rows<'r>(title: &str, rows: impl IntoIterator<Item = &'r Row>) -> Self {
        let entries = rows.into_iter().map(|row| (row.shown(), row.about.to_owned())).collect();
        Self { title: title.to_owned(), entries }
    }

    /// Flags below the title of their group.
    pub fn of_group(group: &Group) -> Self {
        Self::of_rows(group.title, group.rows)
    }
}

/// The page of a program without operations.
pub fn of_program(program: &Program) -> Page {
    of_operation(program, None)
}

/// The page of an operation, or of its program if there is none.
pub fn of_operation(program: &Program, operation: Option<&Operation>) -> Page {
    let name = program.name;
    let mut page = match operation {
        Some(operation) => Page {
            name: format!("{name} {}", operation.name()),
            synopsis: vec![format!("{name} {} [FLAGS] {}", operation.name(), operation.synopsis)],
            about: operation.about.to_owned(),
            more: Vec::new(),
            sections: vec![Section::of_rows(OWN, operation.rows)],
            notes: Vec::new(),
            see_also: vec![name.to_owned()],
        },
        None => Page {
            name: name.to_owned(),
            synopsis: program.synopsis.iter().map(|words| format!("{name} {words}")).collect(),
            about: program.about.to_owned(),
            more: program.more.iter().map(|&text| text.to_owned()).collect(),
            sections: vec![operations(program)],
            notes: Vec::new(),
            see_also: Vec::new(),
        },
    };
    let title = if program.operations.is_empty() { OWN } else { "Flags of every operation" };
    page.sections.push(Section::of_rows(title, program.rows));
    let groups = program.groups.iter().copied().chain([&common::OF_CLASSIC, &common::ALL]);
    page.sections.extend(groups.map(Section::of_group));
    if operation.is_none() && !program.operations.is_empty() {
        page.notes.push(format!("'{name} OPERATION --help' tells the flags of an operation."));
    }
    page.notes.push(SETTINGS.to_owned());
    page
}

fn operations(program: &Program) -> Section {
    let shown = |operation: &Operation| {
        let mut names = operation.names.to_vec();
        names.sort_by_key(|name| name.starts_with("--"));
        (names.join(", "), operation.about.to_owned())
    };
    Section { title: "Operations".to_owned(), entries: program.operations.iter().map(shown).collect() }
}

/// The page of a subcommand of `nix`.
pub fn of_subcommand(name: &str, synopsis: &str, about: &str, groups: &[&Group]) -> Page {
    let all = groups.iter().copied().chain([&common::OF_NIX, &common::ALL]);
    Page {
        name: format!("nix {name}"),
        synopsis: vec![format!("nix {name} {synopsis}")],
        about: about.to_owned(),
        more: Vec::new(),
        sections: all.map(Section::of_group).collect(),
        notes: vec![SETTINGS.to_owned()],
        see_also: vec!["nix".to_owned()],
    }
}

/// The page of `nix` or of a group of its subcommands.
pub fn of_subcommands(group: &str, about: &str, members: Vec<(String, String)>) -> Page {
    let name = if group.is_empty() { "nix".to_owned() } else { format!("nix {group}") };
    Page {
        synopsis: vec![format!("{name} SUBCOMMAND [FLAGS] [ARGUMENTS]")],
        name,
        about: about.to_owned(),
        more: Vec::new(),
        sections: vec![
            Section { title: "Subcommands".to_owned(), entries: members },
            Section::of_group(&common::OF_NIX),
            Section::of_group(&common::ALL),
        ],
        notes: vec![
            "'nix SUBCOMMAND --help' tells the flags of a subcommand.".to_owned(),
            SETTINGS.to_owned(),
        ],
        see_also: Vec::new(),
    }
}

impl Page {
    /// Prints the page on standard output.
    pub fn print(&self) -> anyhow::Result<()> {
        let columns = terminal_columns().unwrap_or(WIDEST);
        let mut out = Out::new();
        out.raw(self.text(columns.min(WIDEST)).as_bytes())?;
        out.finish()
    }

    /// The page as text of some columns.
    pub fn text(&self, columns: usize) -> String {
        let mut text = String::new();
        for (number, line) in self.synopsis.iter().enumerate() {
            let begin = if number == 0 { "Usage: " } else { "       " };
            put(&mut text, begin, line.trim_end(), 7, columns);
        }
        text.push('\n');
        put(&mut text, "", &format!("{}.", self.about), 0, columns);
        self.more.iter().for_each(|more| put(&mut text, "", more, 0, columns));
        for section in self.sections.iter().filter(|section| !section.entries.is_empty()) {
            text.push('\n');
            put(&mut text, "", &format!("{}:", section.title), 0, columns);
            for (name, about) in &section.entries {
                entry(&mut text, name, about, columns);
            }
        }
        text.push('\n');
        self.notes.iter().for_each(|note| put(&mut text, "", note, 0, columns));
        text
    }

    /// The page in the language of `man`, for the file `name.section`.
    pub fn roff(&self, name: &str, section: u8) -> String {
        let mut roff = format!(".TH \"{}\" \"{section}\" \"\" \"Nival {}\"\n", escape(name), VERSION);
        let _ = writeln!(roff, ".SH NAME\n{} \\- {}", escape(name), escape(&self.about));
        if !self.synopsis.is_empty() {
            roff.push_str(".SH SYNOPSIS\n");
        }
        for (number, line) in self.synopsis.iter().enumerate() {
            let _ = writeln!(roff, "{}{}", if number == 0 { "" } else { ".br\n" }, escape(line.trim_end()));
        }
        let _ = writeln!(roff, ".SH DESCRIPTION\n{}.", escape(&self.about));
        for more in &self.more {
            let _ = writeln!(roff, ".PP\n{}", escape(more));
        }
        for section in self.sections.iter().filter(|section| !section.entries.is_empty()) {
            let _ = writeln!(roff, ".SH {}", escape(&section.title.to_uppercase()));
            for (name, about) in &section.entries {
                let _ = writeln!(roff, ".TP\n\\fB{}\\fR\n{}.", escape(name), escape(about));
            }
        }
        if !self.notes.is_empty() {
            roff.push_str(".SH NOTES\n");
        }
        for note in &self.notes {
            let _ = writeln!(roff, ".PP\n{}", escape(note));
        }
        if !self.see_also.is_empty() {
            let names: Vec<String> =
                self.see_also.iter().map(|name| format!("{}(1)", escape(name))).collect();
            let _ = writeln!(roff, ".SH SEE ALSO\n{}", names.join(", "));
        }
        roff
    }
}

/// A name in the left column and its sentence in the right one.
fn entry(text: &mut String, name: &str, about: &str, columns: usize) {
    // Narrow terminals have no room for two columns.
    let indent = if columns < 2 * INDENT { 6 } else { INDENT };
    let name = format!("  {name}");
    if name.chars().count() + 1 < indent {
        put(text, &format!("{name:<indent$}"), about, indent, columns);
    } else {
        let _ = writeln!(text, "{name}");
        put(text, &" ".repeat(indent), about, indent, columns);
    }
}

/// A paragraph that begins behind `begin`, its other lines indented.
fn put(text: &mut String, begin: &str, paragraph: &str, indent: usize, columns: usize) {
    let mut line = begin.to_owned();
    let mut empty = true;
    for word in paragraph.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > columns {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// A text in which nothing means something to `man`.
fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    match escaped.starts_with(['.', '\'']) {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit() {
        for program in super::super::PROGRAMS {
            for operation in program.operations.iter().map(Some).chain([None]) {
                for columns in [40, 72, 100] {
                    let text = of_operation(program, operation).text(columns);
                    let words = |line: &str| line.split_whitespace().count();
                    let long = text.lines().find(|line| line.chars().count() > columns && words(line) > 3);
                    assert_eq!(long, None, "{} {columns}", program.name);
                }
            }
        }
    }

    #[test]
    fn nothing_means_something_to_man() {
        assert_eq!(escape("'x' --y"), "\\&'x' \\-\\-y");
        assert_eq!(escape(".TH a\\b"), "\\&.TH a\\eb");
    }
}
