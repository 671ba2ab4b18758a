//! Typed access to settings.
//!
//! A setting the code acts on has a method of its own here, so that a wrong name or type shows at
//! compile time or in the test below. To use one more setting: let its row end in `.acts()` and add it here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Settings;
use super::value::{Mount, SandboxMode, Value};

/// Makes one method per line: `method: "setting-name"`, with the general getter that reads it.
macro_rules! accessors {
    ($check:ident, $getter:ident -> $type:ty { $($method:ident: $name:literal,)* }) => {
        impl Settings {
            $(
                #[doc = concat!("The setting `", $name, "`.")]
                pub fn $method(&self) -> $type {
                    self.$getter($name)
                }
            )*
        }

        #[cfg(test)]
        const $check: &[&str] = &[$($name,)*];
    };
}

accessors!(FLAGS, flag -> bool {
    abort_on_warn: "abort-on-warn",
    allow_dirty: "allow-dirty",
    allow_import_from_derivation: "allow-import-from-derivation",
    allow_new_privileges: "allow-new-privileges",
    allow_symlinked_store: "allow-symlinked-store",
    always_allow_substitutes: "always-allow-substitutes",
    auto_optimise_store: "auto-optimise-store",
    builders_use_substitutes: "builders-use-substitutes",
    compress_build_log: "compress-build-log",
    eval_cache: "eval-cache",
    fallback: "fallback",
    filter_syscalls: "filter-syscalls",
    fsync_metadata: "fsync-metadata",
    fsync_store_paths: "fsync-store-paths",
    gc_without_proc: "gc-without-proc",
    http2: "http2",
    keep_build_log: "keep-build-log",
    keep_derivations: "keep-derivations",
    keep_env_derivations: "keep-env-derivations",
    keep_failed: "keep-failed",
    keep_going: "keep-going",
    keep_outputs: "keep-outputs",
    preallocate_contents: "preallocate-contents",
    print_missing: "print-missing",
    pure_eval: "pure-eval",
    require_drop_supplementary_groups: "require-drop-supplementary-groups",
    require_sigs: "require-sigs",
    restrict_eval: "restrict-eval",
    run_diff_hook: "run-diff-hook",
    sandbox_fallback: "sandbox-fallback",
    show_trace: "show-trace",
    substitute: "substitute",
    sync_before_registering: "sync-before-registering",
    sync_store_paths: "sync-store-paths",
    trace_import_from_derivation: "trace-import-from-derivation",
    trace_verbose: "trace-verbose",
    use_case_hack: "use-case-hack",
    use_sqlite_wal: "use-sqlite-wal",
    use_xdg_base_directories: "use-xdg-base-directories",
    warn_dirty: "warn-dirty",
});

accessors!(NUMBERS, number -> u64 {
    build_poll_interval: "build-poll-interval",
    connect_timeout: "connect-timeout",
    cores: "cores",
    download_attempts: "download-attempts",
    download_buffer_size: "download-buffer-size",
    download_speed: "download-speed",
    eval_cores: "eval-cores",
    eval_listing_memory: "eval-listing-memory",
    http_connections: "http-connections",
    log_lines: "log-lines",
    max_build_log_size: "max-build-log-size",
    max_call_depth: "max-call-depth",
    max_free: "max-free",
    max_jobs: "max-jobs",
    max_substitution_jobs: "max-substitution-jobs",
    min_free: "min-free",
    min_free_check_interval: "min-free-check-interval",
    nar_buffer_size: "nar-buffer-size",
    narinfo_cache_meta_ttl: "narinfo-cache-meta-ttl",
    narinfo_cache_negative_ttl: "narinfo-cache-negative-ttl",
    narinfo_cache_positive_ttl: "narinfo-cache-positive-ttl",
    stalled_download_timeout: "stalled-download-timeout",
    tarball_ttl: "tarball-ttl",
    warn_large_path_threshold: "warn-large-path-threshold",
});

accessors!(SIGNED_NUMBERS, signed_number -> i64 {
    gc_reserved_space: "gc-reserved-space",
    max_silent_time: "max-silent-time",
    timeout: "timeout",
});

accessors!(TEXTS, text -> &str {
    build_users_group: "build-users-group",
    builders: "builders",
    eval_system: "eval-system",
    flake_registry: "flake-registry",
    lint_absolute_path_literals: "lint-absolute-path-literals",
    lint_short_path_literals: "lint-short-path-literals",
    lint_url_literals: "lint-url-literals",
    netrc_file: "netrc-file",
    post_build_hook: "post-build-hook",
    pre_build_hook: "pre-build-hook",
    sandbox_build_dir: "sandbox-build-dir",
    sandbox_dev_shm_size: "sandbox-dev-shm-size",
    store_uri: "store",
    system: "system",
    user_agent_suffix: "user-agent-suffix",
});

accessors!(OPTIONAL_PATHS, optional_path -> Option<&Path> {
    build_dir: "build-dir",
    diff_hook: "diff-hook",
    json_log_path: "json-log-path",
    ssl_cert_file: "ssl-cert-file",
});

accessors!(LISTS, list -> &[String] {
    allowed_uris: "allowed-uris",
    allowed_users: "allowed-users",
    build_hook: "build-hook",
    nix_path: "nix-path",
    secret_key_files: "secret-key-files",
    substituters: "substituters",
    trusted_public_keys: "trusted-public-keys",
    trusted_substituters: "trusted-substituters",
    trusted_users: "trusted-users",
});

accessors!(SETS, set_of -> &BTreeSet<String> {
    allowed_impure_host_deps: "allowed-impure-host-deps",
    experimental_features: "experimental-features",
    extra_platforms: "extra-platforms",
    ignored_acls: "ignored-acls",
    system_features: "system-features",
});

accessors!(MAPS, map_of -> &BTreeMap<String, String> {
    access_tokens: "access-tokens",
});

static NO_WORDS: BTreeSet<String> = BTreeSet::new();
static NO_MOUNTS: BTreeMap<String, Mount> = BTreeMap::new();
static NO_PAIRS: BTreeMap<String, String> = BTreeMap::new();

// The getters below answer a wrong name or type with an empty value instead of a panic; the test
// makes sure that no method above can get there.
impl Settings {
    /// How builds are isolated.
    pub fn sandbox(&self) -> SandboxMode {
        match self.value("sandbox") {
            Some(Value::Sandbox(mode)) => *mode,
            _ => SandboxMode::Enabled,
        }
    }

    /// What a sandbox shows of the machine, by the path inside.
    pub fn sandbox_paths(&self) -> &BTreeMap<String, Mount> {
        match self.value("sandbox-paths") {
            Some(Value::Mounts(mounts)) => mounts,
            _ => &NO_MOUNTS,
        }
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Bool(true)))
    }

    fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Unsigned(number)) => *number,
            _ => 0,
        }
    }

    fn signed_number(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Signed(number)) => *number,
            _ => 0,
        }
    }

    fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    fn optional_path(&self, name: &str) -> Option<&Path> {
        match self.value(name) {
            Some(Value::OptionalText(Some(path))) => Some(Path::new(path)),
            _ => None,
        }
    }

    fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    fn set_of(&self, name: &str) -> &BTreeSet<String> {
        match self.value(name) {
            Some(Value::Set(set)) => set,
            _ => &NO_WORDS,
        }
    }

    fn map_of(&self, name: &str) -> &BTreeMap<String, String> {
        match self.value(name) {
            Some(Value::Map(map)) => map,
            _ => &NO_PAIRS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_names_a_setting_of_its_type() {
        let settings = Settings::built_in();
        let check = |names: &[&str], fits: fn(&Value) -> bool| {
            for name in names {
                assert!(settings.value(name).is_some_and(fits), "{name}");
            }
        };
        check(FLAGS, |value| matches!(value, Value::Bool(_)));
        check(NUMBERS, |value| matches!(value, Value::Unsigned(_)));
        check(SIGNED_NUMBERS, |value| matches!(value, Value::Signed(_)));
        check(TEXTS, |value| matches!(value, Value::Text(_)));
        check(OPTIONAL_PATHS, |value| matches!(value, Value::OptionalText(_)));
        check(LISTS, |value| matches!(value, Value::List(_)));
        check(SETS, |value| matches!(value, Value::Set(_)));
        check(MAPS, |value| matches!(value, Value::Map(_)));
    }

    #[test]
    fn defaults_come_through() {
        let settings = Settings::built_in();
        assert!(settings.fsync_metadata() && settings.sync_store_paths());
        assert!(!settings.fsync_store_paths());
        assert_eq!(settings.max_free(), 9_223_372_036_854_775_807);
        assert_eq!(settings.substituters(), ["https://cache.nixos.org/"]);
        assert_eq!(settings.store_uri(), "auto");
        assert_eq!(settings.sandbox(), SandboxMode::Enabled);
        assert_eq!(settings.ignored_acls().len(), 3);
    }
}
