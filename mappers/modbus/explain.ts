import type { DeviceBinding, PlanExplanation } from '../sdk/mapper.ts'

export function explainBinding(binding: DeviceBinding): PlanExplanation {
  return { device: binding.key, link: '', requests: [], load: 0, naiveLoad: 0, notes: [] }
}
