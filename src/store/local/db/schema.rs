//! The tables, indices and trigger of the store's database, version 10.
//!
//! | table | row |
//! |---|---|
//! | ValidPaths | a valid path: `path` and `deriver` in full, `hash` as `sha256:`base16 of the NAR, `narSize`, `registrationTime` in seconds, `ultimate` 1 or null, `sigs` blank-separated, `ca` |
//! | Refs | `referrer` refers to `reference`, both ids of ValidPaths |
//! | DerivationOutputs | output `id` of the valid derivation `drv` has the path `path`, valid or not |
//! | SchemaMigrations | names of later changes |
//! | Realisations, RealisationsRefs | where there are any, see `realisations.rs` |
//!
//! The version stands in the file `schema` beside the database: two digits, no
//! newline.

/// The version this code reads and writes.
pub const VERSION: u64 = 10;

/// Creates everything in an empty database.
pub const CREATE: &str = "
create table if not exists ValidPaths (
    id               integer primary key autoincrement not null,
    path             text unique not null,
    hash             text not null,
    registrationTime integer not null,
    deriver          text,
    narSize          integer,
    ultimate         integer,
    sigs             text,
    ca               text
);
create table if not exists Refs (
    referrer  integer not null,
    reference integer not null,
    primary key (referrer, reference),
    foreign key (referrer) references ValidPaths(id) on delete cascade,
    foreign key (reference) references ValidPaths(id) on delete restrict
);
create index if not exists IndexReferrer on Refs(referrer);
create index if not exists IndexReference on Refs(reference);
create trigger if not exists DeleteSelfRefs before delete on ValidPaths
begin
    delete from Refs where referrer = old.id and reference = old.id;
end;
create table if not exists DerivationOutputs (
    drv  integer not null,
    id   text not null,
    path text not null,
    primary key (drv, id),
    foreign key (drv) references ValidPaths(id) on delete cascade
);
create index if not exists IndexDerivationOutputs on DerivationOutputs(path);
create table if not exists SchemaMigrations (migration text primary key not null);
";

/// Creates the indices of references again, as they were.
pub const CREATE_REFERENCE_INDICES: &str = "
create index if not exists IndexReferrer on Refs(referrer);
create index if not exists IndexReference on Refs(reference);
";
