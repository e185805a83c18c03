import type { DeviceModelSpec, DeviceSpec } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'

export function lintModbus(_model: DeviceModelSpec, _devices: readonly DeviceSpec[]): readonly Finding[] {
  return []
}
