/**
 * Conditions of a gateway that its Node carries too; each may taint the Node where `Gateway.spec.taints` lists it. Apart
 * from the schemas, so that a gateway knows the words without their library.
 */
export const NODE_CONDITIONS = ['BatteryLow', 'OnBattery', 'LinkDegraded', 'Throttled'] as const
export type NodeCondition = (typeof NODE_CONDITIONS)[number]

/** What pods share and a gateway may run short of: conditions of a Node as every kubelet tells them. */
export const NODE_PRESSURES = ['MemoryPressure', 'DiskPressure', 'PIDPressure'] as const
export type NodePressure = (typeof NODE_PRESSURES)[number]
