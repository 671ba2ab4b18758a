//! Names that every evaluation knows, and symbols of those that the evaluator itself uses.

use super::Symbol;

/// `outPath`
pub const OUT_PATH: Symbol = Symbol(0);
/// `drvPath`
pub const DRV_PATH: Symbol = Symbol(1);
/// `type`
pub const TYPE: Symbol = Symbol(2);
/// `meta`
pub const META: Symbol = Symbol(3);
/// `name`
pub const NAME: Symbol = Symbol(4);
/// `value`
pub const VALUE: Symbol = Symbol(5);
/// `system`
pub const SYSTEM: Symbol = Symbol(6);
/// `__overrides`
pub const OVERRIDES: Symbol = Symbol(7);
/// `outputs`
pub const OUTPUTS: Symbol = Symbol(8);
/// `outputName`
pub const OUTPUT_NAME: Symbol = Symbol(9);
/// `__ignoreNulls`
pub const IGNORE_NULLS: Symbol = Symbol(10);
/// `file`
pub const FILE: Symbol = Symbol(11);
/// `line`
pub const LINE: Symbol = Symbol(12);
/// `column`
pub const COLUMN: Symbol = Symbol(13);
/// `__functor`
pub const FUNCTOR: Symbol = Symbol(14);
/// `__toString`
pub const TO_STRING: Symbol = Symbol(15);
/// `right`
pub const RIGHT: Symbol = Symbol(16);
/// `wrong`
pub const WRONG: Symbol = Symbol(17);
/// `__structuredAttrs`
pub const STRUCTURED_ATTRS: Symbol = Symbol(18);
/// `allowedReferences`
pub const ALLOWED_REFERENCES: Symbol = Symbol(19);
/// `disallowedReferences`
pub const DISALLOWED_REFERENCES: Symbol = Symbol(20);
/// `builder`
pub const BUILDER: Symbol = Symbol(21);
/// `args`
pub const ARGS: Symbol = Symbol(22);
/// `__contentAddressed`
pub const CONTENT_ADDRESSED: Symbol = Symbol(23);
/// `__impure`
pub const IMPURE: Symbol = Symbol(24);
/// `outputHash`
pub const OUTPUT_HASH: Symbol = Symbol(25);
/// `outputHashAlgo`
pub const OUTPUT_HASH_ALGO: Symbol = Symbol(26);
/// `outputHashMode`
pub const OUTPUT_HASH_MODE: Symbol = Symbol(27);
/// `recurseForDerivations`
pub const RECURSE_FOR_DERIVATIONS: Symbol = Symbol(28);
/// `description`
pub const DESCRIPTION: Symbol = Symbol(29);
/// `startSet`
pub const START_SET: Symbol = Symbol(32);
/// `operator`
pub const OPERATOR: Symbol = Symbol(33);
/// `key`
pub const KEY: Symbol = Symbol(34);
/// `path`
pub const PATH: Symbol = Symbol(35);
/// `prefix`
pub const PREFIX: Symbol = Symbol(36);
/// `__sub`
pub const SUB: Symbol = Symbol(38);
/// `__findFile`
pub const FIND_FILE: Symbol = Symbol(42);
/// `__nixPath`
pub const NIX_PATH: Symbol = Symbol(43);
/// `body`
pub const BODY: Symbol = Symbol(44);
/// `builtins`
pub const BUILTINS: Symbol = Symbol(45);
/// `true`
pub const TRUE: Symbol = Symbol(46);
/// `false`
pub const FALSE: Symbol = Symbol(47);
/// `null`
pub const NULL: Symbol = Symbol(48);

/// The names that every evaluation knows from the start, oldest first, as observed.
pub(super) const NAMES: &[&[u8]] = &[
    b"outPath",
    b"drvPath",
    b"type",
    b"meta",
    b"name",
    b"value",
    b"system",
    b"__overrides",
    b"outputs",
    b"outputName",
    b"__ignoreNulls",
    b"file",
    b"line",
    b"column",
    b"__functor",
    b"__toString",
    b"right",
    b"wrong",
    b"__structuredAttrs",
    b"allowedReferences",
    b"disallowedReferences",
    b"builder",
    b"args",
    b"__contentAddressed",
    b"__impure",
    b"outputHash",
    b"outputHashAlgo",
    b"outputHashMode",
    b"recurseForDerivations",
    b"description",
    b"self",
    b"",
    b"startSet",
    b"operator",
    b"key",
    b"path",
    b"prefix",
    b"outputSpecified",
    b"__sub",
    b"__lessThan",
    b"__mul",
    b"__div",
    b"__findFile",
    b"__nixPath",
    b"body",
    b"builtins",
    b"true",
    b"false",
    b"null",
    b"__currentTime",
    b"currentTime",
    b"__currentSystem",
    b"currentSystem",
    b"__nixVersion",
    b"nixVersion",
    b"__storeDir",
    b"storeDir",
    b"__langVersion",
    b"langVersion",
    b"__traceVerbose",
    b"traceVerbose",
    b"nixPath",
    b"scopedImport",
    b"import",
    b"__typeOf",
    b"typeOf",
    b"isNull",
    b"__isFunction",
    b"isFunction",
    b"__isInt",
    b"isInt",
    b"__isFloat",
    b"isFloat",
    b"__isString",
    b"isString",
    b"__isBool",
    b"isBool",
    b"__isPath",
    b"isPath",
    b"__genericClosure",
    b"genericClosure",
    b"break",
    b"abort",
    b"throw",
    b"__addErrorContext",
    b"addErrorContext",
    b"__ceil",
    b"ceil",
    b"__floor",
    b"floor",
    b"__tryEval",
    b"tryEval",
    b"__getEnv",
    b"getEnv",
    b"__seq",
    b"seq",
    b"__deepSeq",
    b"deepSeq",
    b"__trace",
    b"trace",
    b"__warn",
    b"warn",
    b"derivationStrict",
    b"placeholder",
    b"__toPath",
    b"toPath",
    b"__storePath",
    b"storePath",
    b"__pathExists",
    b"pathExists",
    b"baseNameOf",
    b"dirOf",
    b"__readFile",
    b"readFile",
    b"findFile",
    b"__hashFile",
    b"hashFile",
    b"__readFileType",
    b"readFileType",
    b"__readDir",
    b"readDir",
    b"__toXML",
    b"toXML",
    b"__toJSON",
    b"toJSON",
    b"__fromJSON",
    b"fromJSON",
    b"__toFile",
    b"toFile",
    b"__filterSource",
    b"filterSource",
    b"__path",
    b"__attrNames",
    b"attrNames",
    b"__attrValues",
    b"attrValues",
    b"__getAttr",
    b"getAttr",
    b"__unsafeGetAttrPos",
    b"unsafeGetAttrPos",
    b"__hasAttr",
    b"hasAttr",
    b"__isAttrs",
    b"isAttrs",
    b"removeAttrs",
    b"__listToAttrs",
    b"listToAttrs",
    b"__intersectAttrs",
    b"intersectAttrs",
    b"__catAttrs",
    b"catAttrs",
    b"__functionArgs",
    b"functionArgs",
    b"__mapAttrs",
    b"mapAttrs",
    b"__zipAttrsWith",
    b"zipAttrsWith",
    b"__isList",
    b"isList",
    b"__elemAt",
    b"elemAt",
    b"__head",
    b"head",
    b"__tail",
    b"tail",
    b"map",
    b"__filter",
    b"filter",
    b"__elem",
    b"elem",
    b"__concatLists",
    b"concatLists",
    b"__length",
    b"length",
    b"__foldl'",
    b"foldl'",
    b"__any",
    b"any",
    b"__all",
    b"all",
    b"__genList",
    b"genList",
    b"__sort",
    b"sort",
    b"__partition",
    b"partition",
    b"__groupBy",
    b"groupBy",
    b"__concatMap",
    b"concatMap",
    b"__add",
    b"add",
    b"sub",
    b"mul",
    b"div",
    b"__bitAnd",
    b"bitAnd",
    b"__bitOr",
    b"bitOr",
    b"__bitXor",
    b"bitXor",
    b"lessThan",
    b"toString",
    b"__substring",
    b"substring",
    b"__stringLength",
    b"stringLength",
    b"__hashString",
    b"hashString",
    b"__convertHash",
    b"convertHash",
    b"__match",
    b"match",
    b"__split",
    b"split",
    b"__concatStringsSep",
    b"concatStringsSep",
    b"__replaceStrings",
    b"replaceStrings",
    b"__parseDrvName",
    b"parseDrvName",
    b"__compareVersions",
    b"compareVersions",
    b"__splitVersion",
    b"splitVersion",
    b"__unsafeDiscardStringContext",
    b"unsafeDiscardStringContext",
    b"__hasContext",
    b"hasContext",
    b"__unsafeDiscardOutputDependency",
    b"unsafeDiscardOutputDependency",
    b"__addDrvOutputDependencies",
    b"addDrvOutputDependencies",
    b"__getContext",
    b"getContext",
    b"__appendContext",
    b"appendContext",
    b"fetchMercurial",
    b"fetchTree",
    b"__fetchurl",
    b"fetchurl",
    b"fetchTarball",
    b"fetchGit",
    b"fromTOML",
    b"__getFlake",
    b"getFlake",
    b"__parseFlakeRef",
    b"parseFlakeRef",
    b"__flakeRefToString",
    b"flakeRefToString",
    b"derivation",
    b"strict",
    b"drvAttrs",
    b"commonAttrs",
    b"outputsList",
    b"x",
];
