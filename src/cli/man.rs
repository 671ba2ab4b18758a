//! All man pages: one for each program, operation and subcommand, and one for the settings.

use ::nival::settings::table::TABLE;

use super::nival::SUBCOMMANDS;
use super::nix;
use crate::cli::flags::page::{self, Page, Section};
use crate::cli::flags::{PROGRAMS, Program};

/// The names of the files and what they hold.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for program in PROGRAMS {
        let operations = program.operations.iter();
        pages.extend(operations.map(|operation| {
            let page = page::of_operation(program, Some(operation));
            let name = file_name(program, operation.name());
            (format!("{name}.1"), page.roff(&name, 1))
        }));
        let mut page = page::of_operation(program, None);
        let operations = program.operations.iter();
        page.see_also = operations.map(|operation| file_name(program, operation.name())).collect();
        pages.push((format!("{}.1", program.name), page.roff(program.name, 1)));
    }
    // A name of their own: `nix-store-add` is an operation of `nix-store`.
    for page in nix::pages() {
        let words = page.name.strip_prefix("nix ").map(|words| words.replace(' ', "-"));
        let name = words.map_or("nix".to_owned(), |words| format!("nix3-{words}"));
        let text = page.roff(&name, 1);
        pages.push((format!("{name}.1"), text));
    }
    pages.push(("nival.1".to_owned(), of_nival().roff("nival", 1)));
    pages.push(("nix.conf.5".to_owned(), of_settings().roff("nix.conf", 5)));
    pages
}

fn file_name(program: &Program, operation: &str) -> String {
    format!("{}-{}", program.name, operation.trim_start_matches('-'))
}

fn of_nival() -> Page {
    let entries = SUBCOMMANDS.iter().map(|(name, about)| ((*name).to_owned(), (*about).to_owned()));
    Page {
        name: "nival".to_owned(),
        synopsis: vec!["nival SUBCOMMAND".to_owned(), "nival PROGRAM [ARGUMENTS]".to_owned()],
        about: "A drop-in replacement for nix-store, nix-env, nix copy and the commands around them"
            .to_owned(),
        more: vec![
            "Called by the name of one of these programs, or with that name as the first word, it is \
             that program."
                .to_owned(),
        ],
        sections: vec![Section { title: "Subcommands".to_owned(), entries: entries.collect() }],
        notes: Vec::new(),
        see_also: PROGRAMS.iter().map(|program| program.name.to_owned()).chain(["nix".to_owned()]).collect(),
    }
}

fn of_settings() -> Page {
    let entries = TABLE.iter().map(|row| {
        let doc = row.doc.trim_end_matches('.');
        let default = match (row.document_default, row.default) {
            (false, _) => "the default depends on the machine".to_owned(),
            (true, "") => "empty by default".to_owned(),
            (true, value) => format!("the default is {value}"),
        };
        let effect = row.without_effect().map_or(String::new(), |why| format!("; without effect: {why}"));
        (row.name.to_owned(), format!("{doc} ({default}){effect}"))
    });
    Page {
        name: "nix.conf".to_owned(),
        synopsis: Vec::new(),
        about: "The settings of all programs".to_owned(),
        more: vec![
            "Each line is NAME = VALUE; a hash sign begins a comment. The file of the machine is \
             /etc/nix/nix.conf, or nix.conf in NIX_CONF_DIR; the user's is ~/.config/nix/nix.conf. \
             The text of NIX_CONFIG comes after both, and flags after that."
                .to_owned(),
        ],
        sections: vec![Section { title: "Settings".to_owned(), entries: entries.collect() }],
        notes: Vec::new(),
        see_also: vec!["nix".to_owned()],
    }
}
