{
  lib,
  config,
  options,
  ...
}:
let
  users = config.users.users;
  each = f: lib.concatLines (lib.mapAttrsToList f users) + "\n";
  uids = lib.mapAttrsToList (name: user: user.uid) users;
  keys =
    name: user:
    lib.optional (user.authorizedKeys != [ ]) {
      name = "authorized-keys/${name}";
      value.text = lib.concatLines user.authorizedKeys + "\n";
    };
in
{
  options.users.users = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule (
        { name, ... }:
        {
          options = {
            uid = lib.mkOption {
              type = lib.types.between 0 65533;
              example = 1000;
              description = "The number of the user, and of the group of the same name.";
            };
            home = lib.mkOption {
              type = lib.types.path;
              default = "/home/${name}";
              description = "The home directory; made when it is missing.";
            };
            authorizedKeys = lib.mkOption {
              type = lib.types.listOf (lib.types.matching "[^\n]+" "a public key, on one line");
              default = [ ];
              description = "Keys that may log in over SSH.";
            };
          };
        }
      )
    );
    description = "The users of the machine; `root` is always there.";
  };
  config = {
    users.users.root = {
      uid = 0;
      home = "/root";
    };
    assertions = [
      {
        assertion = builtins.length (lib.unique uids) == builtins.length uids;
        message = "two users have the same uid";
        option = options.users.users;
      }
    ];
    environment.etc = {
      passwd.text = each (
        name: user: "${name}:x:${toString user.uid}:${toString user.uid}::${user.home}:/bin/sh"
      );
      group.text = each (name: user: "${name}:x:${toString user.uid}:");
      # No passwords: who may log in has a key.
      shadow.text = each (name: user: "${name}:!:1::::::");
      shadow.mode = "0600";
      shells.text = "/bin/sh\n";
    }
    // builtins.listToAttrs (builtins.concatLists (lib.mapAttrsToList keys users));
    system.activation.users = lib.concatLines (
      lib.mapAttrsToList (name: user: ''
        mkdir -p ${user.home}/.ssh
        chown ${toString user.uid}:${toString user.uid} ${user.home} ${user.home}/.ssh
        chmod 0700 ${user.home} ${user.home}/.ssh
        ${
          if user.authorizedKeys == [ ] then
            "[ ! -L ${user.home}/.ssh/authorized_keys ] || rm ${user.home}/.ssh/authorized_keys"
          else
            "replace_link /etc/static/authorized-keys/${name} ${user.home}/.ssh/authorized_keys"
        }
      '') users
    );
  };
}
