//! The operations and flags of `nix-env`.

use super::Value::{File, Generation, Package, Profile, StorePath, Text};
use super::expressions::EXPRESSIONS;
use super::{Operation, Program, Row, Value, switch, takes};

const ATTR: Row = switch(&["--attr", "-A"], "Takes the arguments for attributes of the expression");
const EXPRESSION: Row = switch(
    &["--from-expression", "-E"],
    "Takes the arguments for functions, and calls them with the expression",
);
const FORCE: Row = switch(&["--force"], "Also goes to a generation whose packages are not there any more");
const FROM_PROFILE: Row = takes(&["--from-profile"], &[Profile], "Takes the packages from another profile");
const JSON: Row = switch(&["--json"], "Prints JSON");

const fn operation(
    names: &'static [&'static str],
    synopsis: &'static str,
    arguments: &'static [Value],
    about: &'static str,
    rows: &'static [Row],
) -> Operation {
    Operation { names, synopsis, arguments, about, rows }
}

/// `nix-env`.
pub const PROGRAM: Program = Program {
    name: "nix-env",
    synopsis: &["OPERATION [FLAGS] [ARGUMENTS]"],
    arguments: &[StorePath],
    about: "Installs packages into profiles, and goes back to earlier generations of them",
    more: &["Packages are named by store paths, or by names: NAME, NAME-VERSION, or a regular expression \
         for all of NAME. They are chosen from a Nix expression, by default that of ~/.nix-defexpr, or from another \
         profile (--from-profile). What has to be built is not built yet; it can be fetched."],
    operations: OPERATIONS,
    rows: &[
        switch(&["--dry-run"], "Only says what would be done"),
        takes(
            &["--file", "-f"],
            &[File],
            "Chooses packages from the Nix expression of this file, directory or URL",
        ),
        takes(&["--force-name"], &[Text("NAME")], "Gives the package another name (--install, --set)"),
        switch(&["--prebuilt-only", "-b"], "Takes only packages that need not be built"),
        takes(&["--profile", "-p"], &[Profile], "Works on this profile"),
        takes(
            &["--system-filter"],
            &[Text("SYSTEM")],
            "Looks only at packages for this system; * stands for all of them",
        ),
    ],
    groups: &[&EXPRESSIONS],
};

const OPERATIONS: &[Operation] = &[
    operation(
        &["--delete-generations"],
        "old | +N | Nd | GENERATIONS...",
        &[Generation],
        "Deletes generations: all but the current one, all but the last N, those older than N days, or some",
        &[],
    ),
    operation(
        &["--install", "-i"],
        "PACKAGES...",
        &[StorePath],
        "Adds packages to the profile",
        &[
            ATTR,
            EXPRESSION,
            FROM_PROFILE,
            switch(&["--preserve-installed", "-P"], "Keeps installed packages that have the same name"),
            switch(&["--remove-all", "-r"], "First removes everything that is installed"),
        ],
    ),
    operation(&["--list-generations"], "", &[], "Lists the generations of the profile", &[JSON]),
    operation(
        &["--query", "-q"],
        "[NAMES...]",
        &[Package],
        "Lists the packages of the profile, or those that an expression offers",
        &[
            takes(&["--attr", "-A"], &[Text("ATTRIBUTE")], "Looks only at this attribute of the expression"),
            switch(&["--attr-path", "-P"], "Shows the attribute of each package (with --available)"),
            switch(&["--available", "-a"], "Lists what a Nix expression offers"),
            switch(
                &["--compare-versions", "-c"],
                "Compares the versions that are installed and those that are available",
            ),
            switch(&["--description"], "Shows the description of each package"),
            switch(&["--drv-path"], "Shows the derivation of each package"),
            switch(&["--installed"], "Lists what is installed (the default)"),
            JSON,
            switch(&["--meta"], "Shows all that is noted about packages (with --json or --xml)"),
            switch(&["--no-name"], "Does not show the names"),
            switch(&["--out-path"], "Shows the store paths of each package"),
            switch(
                &["--status", "-s"],
                "Shows of each package whether it is installed, is there, and can be fetched (I, P, S)",
            ),
            switch(&["--system"], "Shows the system that each package is for"),
            switch(&["--xml"], "Prints XML"),
        ],
    ),
    operation(&["--rollback"], "", &[], "Goes back to the generation before the current one", &[FORCE]),
    operation(
        &["--set"],
        "PACKAGE",
        &[StorePath],
        "Makes the profile consist of one package",
        &[ATTR, EXPRESSION, FROM_PROFILE],
    ),
    operation(
        &["--set-flag"],
        "NAME VALUE PACKAGES...",
        &[Text("NAME"), Text("VALUE"), Package],
        "Notes something with installed packages: priority, active or keep",
        &[],
    ),
    operation(
        &["--switch-generation", "-G"],
        "GENERATION",
        &[Generation],
        "Goes to a generation of the profile",
        &[FORCE],
    ),
    operation(
        &["--switch-profile", "-S"],
        "PROFILE",
        &[Profile],
        "Makes another profile the one in use",
        &[],
    ),
    operation(&["--uninstall", "-e"], "NAMES...", &[Package], "Removes packages from the profile", &[]),
    operation(
        &["--upgrade", "-u"],
        "[NAMES...]",
        &[Package],
        "Replaces packages by newer ones",
        &[
            switch(&["--always"], "Also takes older versions, and the same one"),
            ATTR,
            switch(&["--eq"], "Takes only the same version"),
            EXPRESSION,
            FROM_PROFILE,
            switch(&["--leq"], "Also takes the same version"),
            switch(&["--lt"], "Takes only newer versions (the default)"),
        ],
    ),
];
