"""An EKS cluster that exists, named by what a stack has to know of it: nothing is looked up."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExistingCluster:
    """A cluster in the fleet's VPC, whose access entries may be added to.

    It has EKS Pod Identity and enforces network policies. One without Auto Mode has the EBS driver too
    (`ebs.csi.aws.com`), the AWS Load Balancer Controller where fleets have a load balancer, and nodes with the label
    and the taint of each fleet, `cdk-buildkit/fleet=<namespace>`, which are replaced before the certificates end.

    Args:
        name: Its name.
        security_group_id: Its own security group, which EKS made with it and which its nodes are in.
        auto_mode: It runs EKS Auto Mode, which makes the fleets' nodes.
    """

    name: str
    security_group_id: str
    auto_mode: bool = True
