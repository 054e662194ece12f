{# Which disk an install may erase: shell for an installer, run before it partitions. Sets `disk` to the device of the #}
{# only one that fits the rule of the inventory (`disk = { ... }`), or tells why there is none, and stops for good. #}
{# Every line goes on in the next, so that it is one in a preseed, and is indented as a text in YAML. #}
{% if disk %}
        sys=${SYSFS:-/sys}; dev=${DEVICES:-/dev}; fits= ; seen= ; best= ; tie= ; rule={{ disk.rule | quote }}; \
        say() { printf '%s' "bootwright: $1"; echo; }; \
        refuse() { say "$1" >&2; say "$1" > "${CONSOLE:-/dev/console}"; {% if callback %}why=$(printf '%.1000s' "$(printf '%s' "$1" | tr -c 'A-Za-z0-9.,:_-' '+')"); wget -q -O /dev/null "{{ callback.failed }}?reason=$why" || curl -fsS -m 20 -o /dev/null "{{ callback.failed }}?reason=$why"; {% endif %}while [ -z "${CONSOLE-}" ]; do sleep 3600; done; exit 1; }; \
        lower() { printf '%s' "$1" | tr A-Z a-z; }; \
        trimmed() { sed 's/^[[:space:]]*//; s/[[:space:]]*$//'; }; \
        for path in "$sys"/block/*; do \
        name=${path##*/}; \
        case $name in loop*|ram*|zram*|sr*|fd*|md*|dm-*|nbd*|mtd*|mmcblk*boot*|mmcblk*rpmb*|nvme*c*n*) continue ;; esac; \
        [ -e "$path/device" ] || continue; \
        [ "$(cat "$path/hidden" 2>/dev/null || echo 0)" = 0 ] || continue; \
        bytes=$(( $(cat "$path/size" 2>/dev/null || echo 0) * 512 )); \
        [ "$bytes" -gt 0 ] || continue; \
        [ "$(cat "$path/ro" 2>/dev/null)" != 1 ] || continue; \
        of_device() { cat "$path/device/$1" 2>/dev/null | trimmed; }; \
        of_ata() { dd if="$path/device/vpd_pg89" bs=2 skip=$1 count=$2 conv=swab 2>/dev/null | tr -d '\000' | trimmed; }; \
        model=$(of_device model); serial=$(of_device serial); \
        [ -n "$serial" ] || serial=$(tail -c +5 "$path/device/vpd_pg80" 2>/dev/null | tr -d '\000' | trimmed); \
        case $name in \
        vd*) told=$(cat "$path/serial" 2>/dev/null | trimmed); serial=${told:-$serial} ;; \
        mmcblk*) told=$(of_device name); model=${told:-$model} ;; \
        nvme*) ;; \
        *) told=$(of_ata 57 20); told_serial=$(of_ata 40 10); if [ -n "$told" ] && [ -n "$told_serial" ]; then model=$told; serial=$told_serial; fi ;; \
        esac; \
        nvme=false; case $name in nvme*) nvme=true ;; esac; \
        ids= ; for link in "$dev"/disk/by-id/*; do if [ "$(readlink -f "$link" 2>/dev/null)" = "$dev/$name" ]; then ids="$ids ${link##*/}"; fi; done; \
        seen="$seen $name ($bytes bytes, model $model, serial $serial)"; \
{% if disk.serial %}
        [ "$serial" = {{ disk.serial | quote }} ] || continue; \
{% endif %}
{% if disk.model %}
        case $(lower "$model") in {{ disk.model_pattern }}) ;; *) continue ;; esac; \
{% endif %}
{% if disk.by_id %}
        case "$ids " in *" "{{ disk.by_id | quote }}" "*) ;; *) continue ;; esac; \
{% endif %}
{% if disk.bytes_min %}
        [ "$bytes" -ge {{ disk.bytes_min }} ] || continue; \
{% endif %}
{% if disk.bytes_max and disk.bytes_max != "18446744073709551615" %}
        [ "$bytes" -le {{ disk.bytes_max }} ] || continue; \
{% endif %}
{% if disk.nvme %}
        [ "$nvme" = {{ disk.nvme }} ] || continue; \
{% endif %}
{% if not disk.serial and not disk.by_id %}
        [ "$(cat "$path/removable" 2>/dev/null)" != 1 ] || continue; \
{% endif %}
        if [ -z "$fits" ]; then fits=$name; best=$bytes; tie= ; \
{% if disk.pick == "smallest" %}
        elif [ "$bytes" -lt "$best" ]; then fits=$name; best=$bytes; tie= ; \
        elif [ "$bytes" -gt "$best" ]; then : ; \
{% elif disk.pick == "largest" %}
        elif [ "$bytes" -gt "$best" ]; then fits=$name; best=$bytes; tie= ; \
        elif [ "$bytes" -lt "$best" ]; then : ; \
{% endif %}
        else tie=1; fi; \
        done; \
        [ -n "$fits" ] || refuse "no disk fits disk = $rule; there are:$seen"; \
        [ -z "$tie" ] || refuse "several disks fit disk = $rule, and none is taken:$seen"; \
        disk=$dev/$fits; \
{% if vars.disk is defined %}
        [ "$(readlink -f {{ vars.disk | quote }})" = "$disk" ] || refuse "the disk "{{ vars.disk | quote }}" is not the one that fits disk = $rule, which is $disk"; \
{% endif %}
        : "$disk"
{% endif %}
