/**
 * Conditions of a gateway that its Node carries too; each may taint the Node where `Gateway.spec.taints` lists it. Apart
 * from the schemas, so that a gateway knows the words without their library.
 */
export const NODE_CONDITIONS = ['BatteryLow', 'OnBattery', 'LinkDegraded', 'Throttled'] as const
export type NodeCondition = (typeof NODE_CONDITIONS)[number]
