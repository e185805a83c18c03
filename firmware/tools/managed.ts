/** Parts of firmware/core that an application needs to be updated over its Modbus line (core/manage.h). */
export const MANAGED_MODULES: readonly string[] = [
  'boot-note',
  'cbor',
  'crc32',
  'image',
  'manage',
  'marks',
  'security-counter',
  'sha256',
  'slots',
  'smp',
  'smp-image',
  'smp-tunnel',
  'upload',
]

/** And those of a board that is also managed on a line of its own (core/manage-line.h). */
export const MANAGED_LINE_MODULES: readonly string[] = [...MANAGED_MODULES, 'manage-line', 'smp-console']
