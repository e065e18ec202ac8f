"""Keep passwords and tokens out of what is shown or written down."""

import re

MASK = '***'
NAMES = r'token|passw|pwd|secret|credential|signature|(?:api|access)[_-]?key'
RULES = [
    # scheme://user:password@host, and what pathlib leaves of it
    (re.compile(r'(\w:/)[^\s/@]+:[^\s/@]+@'), rf'\1{MASK}@'),
    (re.compile(r'(://)[^\s/@]+@'), rf'\1{MASK}@'),
    # …?key=…, …&token=…
    (re.compile(rf'(?i)([?&](?:key|sig|auth|[^\s=&]*(?:{NAMES})[^\s=&]*)=)'
                r'''[^\s&#'"]+'''), rf'\1{MASK}'),
    # --wandb_token=…, --config.data.password=…
    (re.compile(rf'(?i)((?<![\w.-])--?[\w.-]*(?:{NAMES})[\w.-]*=)'
                r"""\S+?(?=['"]?(?:\s|$))"""), rf'\1{MASK}'),
]


def mask(text):
    """Put *** in the place of passwords and tokens within a text."""
    for pattern, masked in RULES:
        text = pattern.sub(masked, text)
    return text


def mask_arguments(arguments):
    """Mask a command line; also the word after a flag such as --token.

    Args:
        arguments: list of str.

    Returns:
        list of str, as long.
    """
    masked, hide = [], False
    for argument in arguments:
        masked.append(MASK if hide else mask(argument))
        flag = re.fullmatch(r'--?([\w.-]+)', argument)
        hide = bool(flag and re.search(f'(?i){NAMES}', flag[1]))
    return masked


def mask_values(tree):
    """Mask every text in dicts and lists, and the values of such keys."""
    if isinstance(tree, dict):
        return {
            key: MASK if isinstance(value, str) and value and re.search(
                f'(?i){NAMES}', str(key)) else mask_values(value)
            for key, value in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        return [mask_values(value) for value in tree]
    return mask(tree) if isinstance(tree, str) else tree
