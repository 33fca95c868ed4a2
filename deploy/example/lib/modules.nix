# Evaluates modules: files, functions or sets with `imports`, `options` and `config` (or just settings) are brought
# together into one tree of options and one configuration.
#
# The configuration is a fixed point: modules are functions of it. So nothing here may look at a value to find out
# what there is; only the names of attributes are looked at, down to where an option is declared.
{
  lists,
  positions,
  properties,
  types,
}:
let
  inherit (positions) showOption showPosition;

  isOption = value: builtins.isAttrs value && value._type or null == "option";

  mkOption = attributes: attributes // { _type = "option"; };

  mkEnableOption =
    what:
    mkOption {
      type = types.bool;
      default = false;
      description = "Whether to have ${what}.";
    };

  # The arguments a module function asks for by name, each found only when it is used: those that are not given by
  # `specialArgs` come from the option `_module.args`, hence from the fixed point.
  callModule =
    { config, options, specialArgs }:
    file: module:
    let
      given = {
        inherit config options;
      }
      // specialArgs;
      argument =
        name: hasDefault:
        given.${name} or (builtins.addErrorContext "while finding the argument `${name}' of the module ${toString file}" config._module.args.${name}
        );
    in
    module (given // builtins.mapAttrs argument (builtins.functionArgs module));

  # A module in any of its forms -> { file; key; imports; options; definitions; }
  normalise =
    context: parent: index: module:
    let
      isFile = builtins.isPath module || builtins.isString module;
      file = if isFile then module else "${toString parent} (imported module ${toString index})";
      loaded = if isFile then import module else module;
      called = if builtins.isFunction loaded then callModule context file loaded else loaded;
      # A file of a directory is its default.nix; positions name it in full.
      structured = called ? config || called ? options;
      reserved = [
        "imports"
        "options"
        "config"
        "_file"
      ];
      excess = builtins.attrNames (builtins.removeAttrs called reserved);
      settings =
        if !structured then
          builtins.removeAttrs called [
            "imports"
            "_file"
          ]
        else if excess == [ ] then
          called.config or { }
        else
          throw ''
            the module ${toString file} has `config' or `options', and beside them `${builtins.head excess}':
            settings of such a module go into its `config'.'';
    in
    if called ? _definition then
      normaliseDefinition context called._definition
    else if !builtins.isAttrs called then
      throw "the module ${toString file} must be a set or a function that returns one, but is ${positions.showValue called}"
    else
      {
        key = if isFile then toString module else null;
        file = called._file or file;
        imports = called.imports or [ ];
        options = called.options or { };
        definitions = properties.unwrap (properties.define (called._file or file) null settings);
      };

  # A definition of a submodule: its value is the module.
  normaliseDefinition =
    context: definition:
    if builtins.isAttrs definition.value && !(definition.value ? imports) then
      {
        key = null;
        inherit (definition) file;
        imports = [ ];
        options = { };
        # The conditions and the priority were those of the submodule as a whole and have been dealt with.
        definitions = properties.unwrap (properties.define definition.file definition.pos definition.value);
      }
    else
      normalise context definition.file 0 definition.value;

  # All modules, each file once, imports before whoever imports them.
  collect =
    context: parent: modules:
    let
      numbered = builtins.genList (index: normalise context parent index (builtins.elemAt modules index)) (
        builtins.length modules
      );
      withImports = builtins.concatMap (
        module: collect context module.file module.imports ++ [ module ]
      ) numbered;
    in
    withImports;

  deduplicate =
    modules:
    (builtins.foldl'
      (
        { seen, kept }:
        module:
        if module.key != null && seen ? ${module.key} then
          { inherit seen kept; }
        else
          {
            seen = if module.key == null then seen else seen // { ${module.key} = true; };
            kept = kept ++ [ module ];
          }
      )
      {
        seen = { };
        kept = [ ];
      }
      modules
    ).kept;

  # Declarations of one level of the tree: { file; pos; value; } each a set of options, or an option.
  declarationsOf =
    name: declarations:
    builtins.concatMap (
      { file, value, ... }:
      if value ? ${name} then
        [
          {
            inherit file;
            pos = builtins.unsafeGetAttrPos name value;
            value = value.${name};
          }
        ]
      else
        [ ]
    ) declarations;

  # -> the tree of options; an option is the declaration with its definitions and value
  buildTree =
    path: declarations: definitions:
    let
      names = lists.attrNamesOf (map (declaration: declaration.value) declarations);
    in
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value =
          let
            here = path ++ [ name ];
            declared = declarationsOf name declarations;
            options = builtins.filter (declaration: isOption declaration.value) declared;
            written = properties.writtenOf name (
              builtins.filter (definition: builtins.isAttrs definition.value) definitions
            );
          in
          if options == [ ] then
            buildTree here declared (builtins.concatMap properties.unwrap written)
          else if builtins.length declared > 1 then
            throw ''
              the option `${showOption here}' is declared more than once:
              ${lists.concatLines (map (each: "  at ${showPosition each}") declared)}''
          else
            evalOption here (builtins.head options) written;
      }) names
    );

  evalOption =
    path: declaration: written:
    let
      option = declaration.value;
      type = option.type or types.unmergeable;
      prevailing = properties.prevailing (builtins.concatMap properties.unwrap written);
      fallback = properties.define declaration.file declaration.pos option.default;
      merged =
        if prevailing != [ ] then
          types.apply type path prevailing
        else if option ? default then
          # Sets of submodules need their merge even for a default; it also checks the default's type.
          types.apply type path [ fallback ]
        else
          throw ''
            the option `${showOption path}' is needed, but nothing sets it (declared at ${showPosition declaration}).
            Set it in your configuration${
              if option ? example then ", for example: ${showOption path} = ${builtins.toJSON option.example};" else "."
            }'';
      # For the trace of an error, which may be an infinite recursion: no value is looked at again.
      places =
        if written == [ ] then
          "its default, at ${showPosition declaration}"
        else
          "set at ${builtins.concatStringsSep ", " (map showPosition written)}";
    in
    option
    // {
      inherit path type;
      declaredAt = showPosition declaration;
      # Where the value comes from: "FILE:LINE:COLUMN" of every definition that counts.
      setAt = map showPosition prevailing;
      isDefined = prevailing != [ ];
      value =
        builtins.addErrorContext
          "while evaluating the option `${showOption path}' (${places})"
          (if option ? apply then option.apply merged else merged);
    };

  configOf = builtins.mapAttrs (name: node: if isOption node then node.value else configOf node);

  # Settings of options that do not exist: every attribute set outside the tree.
  unknownSettings =
    path: tree: definitions:
    builtins.concatMap (
      definition:
      if !builtins.isAttrs definition.value then
        [ (definition // { inherit path; }) ]
      else
        builtins.concatMap (
          name:
          let
            inner = properties.definitionsOf name [ definition ];
            here = path ++ [ name ];
          in
          if !(tree ? ${name}) then
            map (each: each // { path = here; }) inner
          else if isOption tree.${name} then
            [ ]
          else
            unknownSettings here tree.${name} inner
        ) (builtins.attrNames definition.value)
    ) definitions;

  similar =
    tree: name:
    let
      # Names with an underscore are not for configurations.
      known = builtins.filter (each: builtins.substring 0 1 each != "_") (builtins.attrNames tree);
      close = builtins.filter (
        each:
        builtins.match ".*${name}.*" each != null || builtins.match ".*${each}.*" name != null
        || builtins.substring 0 3 each == builtins.substring 0 3 name
      ) known;
    in
    if close != [ ] then close else known;

  treeAt = tree: path: builtins.foldl' (node: name: node.${name} or { }) tree path;

  refuse =
    prefix: tree: setting:
    let
      around = lists.init setting.path;
      node = treeAt tree around;
      candidates =
        if builtins.match "[a-zA-Z0-9_-]*" (lists.last setting.path) == null then
          builtins.attrNames node
        else
          similar node (lists.last setting.path);
    in
    throw ''
      the option `${showOption (prefix ++ setting.path)}' does not exist, but is set at ${showPosition setting}.
      ${
        if isOption node || candidates == [ ] then
          "`${showOption (prefix ++ around)}' has no options below it."
        else
          "There is: ${
            builtins.concatStringsSep ", " (map (name: showOption (prefix ++ around ++ [ name ])) candidates)
          }."
      }'';

  internalOptions = {
    options._module.args = mkOption {
      type = types.attrsOf types.unmergeable;
      default = { };
      description = "Arguments that modules may ask for by name.";
    };
  };

  # { modules, specialArgs ? {}, prefix ? [] } -> { options; config; }
  # `specialArgs` may be used by `imports`; `prefix` is what errors put before the names of options.
  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
    }:
    let
      context = {
        inherit config options specialArgs;
      };
      collected = deduplicate (collect context "the configuration" (modules ++ [ internalOptions ]));
      declarations = map (
        { file, options, ... }:
        {
          inherit file;
          pos = null;
          value = options;
        }
      ) collected;
      definitions = builtins.concatMap ({ definitions, ... }: definitions) collected;
      options = buildTree prefix declarations definitions;
      config = configOf options;
      unknown = unknownSettings [ ] options definitions;
    in
    {
      inherit options;
      # Checked only from outside: a module that looks at `config` must not wait for all names to be known.
      config = if unknown == [ ] then config else refuse prefix options (builtins.head unknown);
    };
in
{
  inherit evalModules mkOption mkEnableOption;
}
