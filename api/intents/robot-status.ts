/** Names under which a robot's twin has its status; FLUIDOS calls it robot_status. */
export const ROBOT_STATUS_PROPERTIES = ['robot-status', 'robot_status', 'robotStatus'] as const
