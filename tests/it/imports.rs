//! Which source file uses which other one, as far as the text of the sources tells.
//!
//! Paths that begin with `crate`, `nival` (the library, as the binary calls it), `super`, `self`
//! or a module of the file are followed to the file that defines what they name, also where
//! another file only passes the name on (`pub use`).

use std::collections::{BTreeMap, BTreeSet};

type Path = Vec<String>;

/// A name that a `use` brings into a file.
struct Use {
    path: Path,
    name: String,
    /// The file passes the name on.
    public: bool,
}

struct File {
    name: String,
    uses: Vec<Use>,
    /// What is defined here.
    items: BTreeSet<String>,
    /// Paths in the text outside of `use`, and single words.
    paths: BTreeSet<Path>,
}

/// Files by their modules, and what each of them uses.
pub struct Imports {
    files: BTreeMap<Path, File>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// The imports of sources: names below `src`, and code without comments.
    pub fn of(sources: impl IntoIterator<Item = (String, String)>) -> Self {
        let files = sources.into_iter().map(|(name, code)| (module_of(&name), File::parse(name, &code)));
        let mut imports = Self { files: files.collect(), edges: BTreeMap::new() };
        for (module, file) in &imports.files {
            let used: BTreeSet<String> = imports.used_by(module, file);
            imports.edges.insert(file.name.clone(), used);
        }
        imports
    }

    /// Each file with each other file that it uses, sorted.
    pub fn edges(&self) -> impl Iterator<Item = (&String, &String)> {
        self.edges.iter().flat_map(|(file, others)| others.iter().map(move |other| (file, other)))
    }

    /// The sets of files of which each one reaches every other one.
    pub fn circles(&self) -> BTreeSet<BTreeSet<String>> {
        let reach: BTreeMap<&String, BTreeSet<&String>> =
            self.edges.keys().map(|file| (file, self.reached(file))).collect();
        let circle = |file: &&String| {
            let others = reach[*file].iter().filter(|other| reach[*other].contains(*file));
            others.map(|other| (*other).clone()).collect::<BTreeSet<String>>()
        };
        self.edges.keys().map(|file| circle(&file)).filter(|circle| circle.len() > 1).collect()
    }

    fn reached<'i>(&'i self, file: &'i String) -> BTreeSet<&'i String> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![file]);
        while let Some(next) = open.pop() {
            open.extend(self.edges[next].iter().filter(|other| seen.insert(*other)));
        }
        seen
    }

    fn used_by(&self, module: &Path, file: &File) -> BTreeSet<String> {
        let is_used =
            |taken: &&Use| !taken.public || file.paths.iter().any(|path| path.first() == Some(&taken.name));
        let of_uses = file.uses.iter().filter(is_used).map(|taken| &taken.path);
        // A single word is a name of the file's own.
        let in_code = file.paths.iter().filter(|path| path.len() > 1);
        let targets = of_uses.chain(in_code).filter_map(|path| self.target(&self.absolute(module, path)?, 0));
        targets.filter(|target| *target != module).map(|target| self.files[target].name.clone()).collect()
    }

    /// A path from the root; none for one that leads out of the crate or to a local name.
    fn absolute(&self, module: &Path, path: &[String]) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" | "nival" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|word| *word == "super").count();
                let base = module.len().checked_sub(ups)?;
                Some([&module[..base], &path[ups..]].concat())
            }
            _ => {
                let child = [module.as_slice(), std::slice::from_ref(first)].concat();
                self.files.contains_key(&child).then(|| [module, path].concat())
            }
        }
    }

    /// The module that defines what an absolute path names.
    fn target(&self, path: &[String], depth: usize) -> Option<&Path> {
        let length = (1..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, file) = self.files.get_key_value(&path[..length])?;
        let passes_on = |name: &&String| *name != "*" && !file.items.contains(*name);
        let Some(name) = path.get(length).filter(passes_on) else {
            return Some(module);
        };
        let named = file.uses.iter().find(|taken| taken.name == *name).map(|taken| taken.path.clone());
        let all = || {
            let globs = file.uses.iter().filter(|taken| taken.name == "*");
            globs.filter_map(|taken| {
                let from = self.absolute(module, &taken.path[..taken.path.len() - 1])?;
                self.files.get(&from)?.items.contains(name).then_some([from, vec![name.clone()]].concat())
            })
        };
        let passed_on = named.and_then(|path| self.absolute(module, &path)).or_else(|| all().next());
        match passed_on {
            // A name that stands for itself would lead round in a circle.
            Some(next) if depth < 8 => {
                let next = [next.as_slice(), &path[length + 1..]].concat();
                self.target(&next, depth + 1).or(Some(module))
            }
            _ => Some(module),
        }
    }
}

fn module_of(name: &str) -> Path {
    let words = name.trim_end_matches(".rs").trim_end_matches("/mod");
    words.split('/').map(str::to_owned).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl File {
    fn parse(name: String, code: &str) -> Self {
        let mut file = Self { name, uses: Vec::new(), items: BTreeSet::new(), paths: BTreeSet::new() };
        let mut rest = String::new();
        let code = without_modules(code);
        let mut lines = code.lines();
        while let Some(line) = lines.next() {
            let (public, text) = without_visibility(line.trim_start());
            let Some(begin) = text.strip_prefix("use ") else {
                rest.push_str(line);
                rest.push('\n');
                continue;
            };
            let mut declaration = begin.to_owned();
            while !declaration.contains(';') {
                declaration.push_str(lines.next().expect("the end of a 'use'"));
            }
            read_use(&[], declaration.split(';').next().unwrap_or_default(), public, &mut file.uses);
        }
        file.read_code(&rest);
        file
    }

    /// Notes the items and the paths of code.
    fn read_code(&mut self, code: &str) {
        const KEYWORDS: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];
        let mut last = String::new();
        let mut text = code;
        while let Some(begin) = text.find(is_word) {
            text = &text[begin..];
            let mut path = Vec::new();
            loop {
                let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
                path.push(text[..end].to_owned());
                text = &text[end..];
                match text.strip_prefix("::").filter(|rest| rest.starts_with(is_word)) {
                    Some(rest) => text = rest,
                    None => break,
                }
            }
            if KEYWORDS.contains(&last.as_str()) {
                self.items.insert(path[0].clone());
            }
            last = path[path.len() - 1].clone();
            self.paths.insert(path);
        }
    }
}

/// Code in which modules within the file are part of the file: what is `super` to them is
/// the file itself.
fn without_modules(code: &str) -> String {
    let mut closing: Vec<String> = Vec::new();
    let mut result = String::new();
    for line in code.lines() {
        let (_, text) = without_visibility(line.trim_start());
        if closing.last().is_some_and(|end| end == line) {
            closing.pop();
        } else if text.starts_with("mod ") && text.ends_with('{') {
            let indent = line.len() - line.trim_start().len();
            closing.push(format!("{}}}", " ".repeat(indent)));
        } else if closing.is_empty() {
            result.push_str(line);
        } else {
            let further = line.replace("super::super::", "\0").replace("super::", "self::");
            result.push_str(&further.replace('\0', "super::"));
        }
        result.push('\n');
    }
    result
}

/// Whether a declaration begins with `pub`, and what follows that.
fn without_visibility(text: &str) -> (bool, &str) {
    match text.strip_prefix("pub") {
        Some(rest) if rest.starts_with(' ') => (true, rest.trim_start()),
        Some(rest) if rest.starts_with('(') => {
            (true, rest.split_once(')').map_or("", |(_, rest)| rest.trim_start()))
        }
        _ => (false, text),
    }
}

/// Reads what stands between `use` and `;`.
fn read_use(before: &[String], text: &str, public: bool, uses: &mut Vec<Use>) {
    let text = text.trim();
    let words = |text: &str| -> Path {
        let words = text.split("::").map(str::trim).filter(|word| !word.is_empty());
        before.iter().cloned().chain(words.map(str::to_owned)).collect()
    };
    if let Some((prefix, group)) = text.split_once('{') {
        let prefix = words(prefix);
        let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
        let mut depth = 0;
        let members = group.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        members
            .filter(|member| !member.trim().is_empty())
            .for_each(|member| read_use(&prefix, member, public, uses));
        return;
    }
    let (path, alias) =
        text.split_once(" as ").map_or((text, None), |(path, alias)| (path, Some(alias.trim())));
    let mut path = words(path);
    path.pop_if(|last| last == "self");
    let Some(name) = alias.or(path.last().map(String::as_str)).map(str::to_owned) else { return };
    uses.push(Use { path, name, public });
}
